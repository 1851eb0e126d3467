import * as Dim from "../ir/Dim.ts"
import * as Graph from "../ir/Graph.ts"
import type { Node, NodeOf } from "../ir/Node.ts"
import { isOneLoop, productsIn } from "../ir/products.ts"
import * as Shape from "../ir/Shape.ts"
import * as PartView from "./PartView.ts"
import { type ProductEnds, productEnds } from "./productEnds.ts"
import * as traits from "./traits.ts"

/**
 * A contraction whose columns are read in parts becomes contractions of those columns: packed queries, keys and values one for each; what RoPE turns one for
 * each of the two numbers of a pair, and one for what passes. They are of one operand, so one dispatch computes them side by side and has both numbers at
 * hand: what follows needs no kernel of its own. Parts are found by arithmetic on positions, through whatever slices, concats, reshapes and
 * transposes stand between.
 */
export interface Parted {
  readonly graph: Graph.Graph
  readonly products: ReadonlyArray<Product>
  /** Concats whose parts follow contractions element by element. */
  readonly joins: ReadonlySet<Node>
}

export interface Product {
  /** In the graph as it was. */
  readonly dot: Node
  /** For each of its ends the contractions that it is computed from; undefined where one has none. */
  readonly parts: ReadonlyArray<ReadonlySet<Node>> | undefined
}

export const partProducts = (graph: Graph.Graph, refused: ReadonlySet<Node>): Parted => {
  const found = productEnds(graph).filter(({ dot }) => !refused.has(dot))
  if (found.length === 0) return { graph, products: [], joins: new Set() }
  const byEnd = new Map(found.flatMap((own) => [...own.ends].map((end) => [end, own] as const)))
  const made = new Map<Node, Made>()
  const joins = new Set<Node>()
  const now = new Map<Node, Node>()
  const rebuilt = Graph.transform(
    graph,
    (node, build, original) => {
      const own = byEnd.get(original)
      const end = own && parted(original, own, (n) => now.get(n) as Node, build)
      if (end === undefined) return node
      made.set(original, end)
      for (const join of end.joins) joins.add(join)
      return end.node
    },
    (original, result) => now.set(original, result)
  )
  const products = found.map(({ dot, ends }) => {
    const all = [...ends].flatMap((end) => made.get(end)?.dots ?? [])
    return { dot, parts: all.length === ends.size && repeatsNothing(dot, all) ? all : undefined }
  })
  return { graph: rebuilt, products, joins }
}

/** Whether contractions of parts have no more columns than the whole has. */
const repeatsNothing = (dot: Node, parts: ReadonlyArray<ReadonlySet<Node>>): boolean => {
  const own = new Set(parts.flatMap((dots) => [...dots]))
  const size = [...own].map((n) => Shape.size(n.type.shape)).reduce(Dim.add)
  const left = Dim.sub(Shape.size(dot.type.shape), size)
  return left.terms.every(({ coefficient }) => coefficient >= 0)
}

interface Made {
  readonly node: Node
  /** What was made for it, operands first. */
  readonly nodes: ReadonlyArray<Node>
  readonly dots: ReadonlySet<Node>
  readonly joins: ReadonlySet<Node>
}

/** Whether kernels compute the contractions side by side, one or two in each. */
const isComputed = ({ node, nodes, dots }: Made): boolean =>
  dots.size > 0 && productsIn(nodes, [...dots], node)?.every(isOneLoop) === true

/** The end as an expression over contractions of parts: as it is, or cut in segments where it is of whole rows. */
const parted = (
  end: Node,
  { ends, between }: ProductEnds,
  now: (n: Node) => Node,
  build: Graph.Builder
): Made | undefined => {
  const { shape } = end.type
  // What another end gives is there.
  const own = new Set([...between].filter((n) => n === end || !ends.has(n)))
  const attempt = (make: (reader: Reader) => Node | undefined): Made | undefined => {
    const reader = readerOf(own, now, build)
    const node = make(reader)
    const made = node && { node, nodes: reader.nodes, dots: reader.dots, joins: reader.joins }
    return made && isComputed(made) ? made : undefined
  }
  const read = (axis: number, run: PartView.Run): Made | undefined =>
    attempt((reader) => reader.read(end, PartView.along(shape, axis, run)))
  /** A run in two: halves, or neighbours. */
  const inTwo = (axis: number, { start, size }: PartView.Run): Made | undefined => {
    if (size < 2 || size % 2 !== 0) return undefined
    return first([false, true], (apart) => {
      const runs = [0, 1].map((n) =>
        apart
          ? { start: start + n, step: 2, size: size / 2 }
          : { start: start + (n * size) / 2, step: 1, size: size / 2 }
      )
      return attempt((reader) => {
        const parts = runs.map((run) => reader.read(end, PartView.along(shape, axis, run)))
        return parts.includes(undefined) ? undefined : reader.join(parts as ReadonlyArray<Node>, axis, apart)
      })
    })
  }
  return (
    attempt((reader) => reader.read(end, PartView.whole(shape))) ??
    first([...shape.keys()].reverse(), (axis) => {
      const size = Dim.value(shape[axis] as Dim.Dim)
      if (size === undefined) return undefined
      const cuts = [...own].flatMap((n) => (n.op === "concat" ? [boundsOf(n)] : []))
      return (
        inTwo(axis, { start: 0, step: 1, size }) ??
        first(
          cuts.filter((bounds) => bounds.at(-1) === size),
          (bounds) => {
            const segments = bounds.slice(1).map((stop, n) => {
              const start = bounds[n] as number
              return { start, step: 1, size: stop - start }
            })
            return together(
              segments.map((run) => read(axis, run) ?? inTwo(axis, run)),
              axis,
              build
            )
          }
        )
      )
    })
  )
}

/** Where the parts of a concat begin, and its end; the start alone where sizes are not known. */
const boundsOf = ({ operands, attrs: { axis } }: NodeOf<"concat">): ReadonlyArray<number> => {
  const bounds = [0]
  for (const { type } of operands) {
    const size = Dim.value(type.shape[axis] as Dim.Dim)
    if (size === undefined) return [0]
    bounds.push((bounds.at(-1) as number) + size)
  }
  return bounds
}

/** What is made of segments, one after the other. */
const together = (
  segments: ReadonlyArray<Made | undefined>,
  axis: number,
  build: Graph.Builder
): Made | undefined => {
  const made = segments.filter((s) => s !== undefined)
  if (made.length < segments.length) return undefined
  const parts = made.map((s) => s.node)
  const node = build.add("concat", parts, { axis }) as Node
  const all = {
    node,
    nodes: [...made.flatMap((s) => s.nodes), node],
    dots: new Set(made.flatMap((s) => [...s.dots])),
    joins: new Set([node, ...made.flatMap((s) => [...s.joins])])
  }
  return isComputed(all) ? all : undefined
}

const first = <A, B>(list: ReadonlyArray<A>, find: (a: A) => B | undefined): B | undefined => {
  for (const a of list) {
    const found = find(a)
    if (found !== undefined) return found
  }
  return undefined
}

interface Reader {
  /** What a view shows of a value, computed from contractions of no other columns; undefined where it needs all of them. */
  readonly read: (node: Node, view: PartView.PartView) => Node | undefined
  /** Parts side by side, or in turns. */
  readonly join: (parts: ReadonlyArray<Node>, axis: number, apart: boolean) => Node
  readonly dots: ReadonlySet<Node>
  readonly joins: ReadonlySet<Node>
  /** All that it made, operands first. */
  readonly nodes: ReadonlyArray<Node>
}

/** The operand of a concat that all of a run lies in, and its view. */
const partOf = (
  { operands, attrs: { axis } }: NodeOf<"concat">,
  view: PartView.PartView
): { readonly node: Node; readonly view: PartView.PartView } | undefined => {
  const [cut, ...others] = view[axis] as ReadonlyArray<PartView.Cut>
  const run = cut?.run
  if (run === undefined || others.length > 0) return undefined
  let start = 0
  for (const node of operands) {
    const d = node.type.shape[axis] as Dim.Dim
    const size = Dim.value(d)
    if (size === undefined) return undefined
    const own = { ...run, start: run.start - start }
    if (own.start >= 0 && own.start + own.step * (own.size - 1) < size) {
      const isWhole = own.step === 1 && own.size === size
      return { node, view: view.with(axis, [{ size: d, run: isWhole ? undefined : own }]) }
    }
    start += size
  }
  return undefined
}

const readerOf = (between: ReadonlySet<Node>, now: (n: Node) => Node, build: Graph.Builder): Reader => {
  const nodes: Array<Node> = []
  const add: Graph.Builder["add"] = (...made) => {
    const node = build.add(...made)
    nodes.push(node as Node)
    return node
  }
  const dots = new Set<Node>()
  const joins = new Set<Node>()
  const known = new Map<Node, Map<string, Node | undefined>>()
  const shaped = (x: Node, shape: Shape.Shape): Node => {
    const base = x.op === "reshape" ? (x.operands[0] as Node) : x
    return Shape.equals(base.type.shape, shape) ? base : (add("reshape", [base], { shape }) as Node)
  }
  const joined = (parts: ReadonlyArray<Node>, axis: number): Node => {
    const join = add("concat", parts, { axis }) as Node
    joins.add(join)
    return join
  }

  const read = (node: Node, view: PartView.PartView): Node | undefined => {
    if (!between.has(node)) return outside(node, view)
    const own = known.get(node) ?? new Map<string, Node | undefined>()
    known.set(node, own)
    const asked = PartView.plain(view)
    const key = PartView.key(asked)
    if (!own.has(key)) own.set(key, inside(node, asked))
    const found = own.get(key)
    return found && shaped(found, PartView.shapeOf(view))
  }

  const all = (nodes: ReadonlyArray<Node | undefined>): nodes is ReadonlyArray<Node> =>
    !nodes.includes(undefined)

  /** Casts stay on the outside: loads widen what they read. */
  const outside = (node: Node, view: PartView.PartView): Node => {
    const origin = { at: node.at, label: node.label }
    if (node.op === "cast") {
      const x = outside(node.operands[0] as Node, view)
      return add("cast", [x], node.attrs, origin) as Node
    }
    const part = node.op === "concat" ? partOf(node, view) : undefined
    if (part !== undefined) return outside(part.node, part.view)
    const cuts = view.flat()
    const x = shaped(
      now(node),
      cuts.map(({ size }) => size)
    )
    if (cuts.every(({ run }) => run === undefined)) return x
    return add(
      "slice",
      [x],
      {
        starts: cuts.map(({ run }) => Dim.constant(run?.start ?? 0)),
        stops: cuts.map(({ size, run }) =>
          run === undefined ? size : Dim.constant(run.start + run.step * (run.size - 1) + 1)
        ),
        steps: cuts.map(({ run }) => run?.step ?? 1)
      },
      origin
    ) as Node
  }

  const inside = (node: Node, view: PartView.PartView): Node | undefined => {
    const { shape } = node.type
    const origin = { at: node.at, label: node.label }
    const [x] = node.operands as readonly [Node]
    if (traits.isElementwise(node)) {
      const operands = node.operands.map((o) => read(o, PartView.ofBroadcast(view, shape, o.type.shape)))
      return all(operands) ? (add(node.op, operands, node.attrs as never, origin) as Node) : undefined
    }
    switch (node.op) {
      case "dot":
        return product(node, view)
      case "transpose": {
        const before = PartView.beforeTranspose(view, node)
        const moved = read(x, before.view)
        return moved && (add("transpose", [moved], { perm: before.perm }, origin) as Node)
      }
      case "slice": {
        const before = PartView.beforeSlice(view, node)
        return before && read(x, before)
      }
      case "reshape": {
        const before = PartView.beforeReshape(view, x.type.shape)
        return before && read(x, before)
      }
      case "concat":
        return side(node, view)
      default:
        return undefined
    }
  }

  const side = (node: NodeOf<"concat">, view: PartView.PartView): Node | undefined => {
    const { axis } = node.attrs
    const [cut, ...others] = view[axis] as ReadonlyArray<PartView.Cut>
    if (others.length > 0) return undefined
    if (cut?.run !== undefined) {
      const part = partOf(node, view)
      return part && read(part.node, part.view)
    }
    const parts = node.operands.map((o) =>
      read(o, view.with(axis, [{ size: o.type.shape[axis] as Dim.Dim }]))
    )
    return all(parts) ? joined(parts, PartView.firstCut(view, axis)) : undefined
  }

  /** The contraction of some columns is the contraction with some columns. */
  const product = (dot: NodeOf<"dot">, view: PartView.PartView): Node | undefined => {
    const [lhs, rhs] = dot.operands as readonly [Node, Node]
    const { lhsBatch, lhsContract, rhsBatch, rhsContract } = dot.attrs
    const free = rhs.type.shape.flatMap((_, axis) =>
      rhsBatch.includes(axis) || rhsContract.includes(axis) ? [] : [axis]
    )
    const first = dot.type.shape.length - free.length
    const isPart = (cuts: ReadonlyArray<PartView.Cut>): boolean => cuts.some(({ run }) => run !== undefined)
    if (view.slice(0, first).some(isPart) || !view.slice(first).some(isPart)) return undefined
    const own = rhs.type.shape.map((size, axis) =>
      free.includes(axis) ? (view[first + free.indexOf(axis)] as ReadonlyArray<PartView.Cut>) : [{ size }]
    )
    const placeOf = (axis: number): number => PartView.firstCut(own, axis)
    const attrs = {
      lhsBatch,
      lhsContract,
      rhsBatch: rhsBatch.map(placeOf),
      rhsContract: rhsContract.map(placeOf)
    }
    const origin = { at: dot.at, label: dot.label }
    const part = add("dot", [now(lhs), outside(rhs, own)], attrs, origin) as Node
    dots.add(part)
    return part
  }

  return {
    read,
    dots,
    joins,
    nodes,
    join: (parts, axis, apart) => {
      if (!apart) return joined(parts, axis)
      const turns = (d: Shape.Shape, n: number) => d.toSpliced(axis + 1, 0, Dim.constant(n))
      const { shape } = (parts[0] as Node).type
      const pairs = joined(
        parts.map((p) => shaped(p, turns(shape, 1))),
        axis + 1
      )
      const size = Dim.mul(shape[axis] as Dim.Dim, Dim.constant(2))
      return shaped(pairs, shape.with(axis, size))
    }
  }
}
