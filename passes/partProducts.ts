import * as Dim from "../ir/Dim.ts"
import * as Graph from "../ir/Graph.ts"
import type { Node, NodeOf } from "../ir/Node.ts"
import * as Shape from "../ir/Shape.ts"
import { areTwins } from "../ir/twinProducts.ts"
import * as PartView from "./PartView.ts"
import * as traits from "./traits.ts"

/**
 * A contraction whose columns are read in two parts that meet again, as RoPE reads the two numbers of each pair, becomes two contractions of those
 * columns. They are of one operand, so one kernel computes them side by side and has both numbers at hand: what follows needs no
 * kernel of its own. Parts are found by arithmetic on positions, through whatever slices, concats, reshapes and transposes stand between.
 */
export interface Parted {
  readonly graph: Graph.Graph
  readonly products: ReadonlyArray<Pair>
  /** Concats whose parts follow both contractions of a pair element by element. */
  readonly joins: ReadonlySet<Node>
}

export interface Pair {
  /** In the graph as it was: where the parts meet. */
  readonly end: Node
  readonly dots: readonly [Node, Node]
}

/** Nodes between a contraction and where its parts meet. */
const mostBetween = 64

export const partProducts = (graph: Graph.Graph, refused: ReadonlySet<Node>): Parted => {
  const ends = endsOf(graph)
  const products: Array<Pair> = []
  const joins = new Set<Node>()
  const now = new Map<Node, Node>()
  const rebuilt = Graph.transform(
    graph,
    (node, build, original) => {
      const between = refused.has(original) ? undefined : ends.get(original)
      const made = between && parted(original, between, (n) => now.get(n) as Node, build)
      if (made === undefined) return node
      products.push({ end: original, dots: made.dots })
      for (const join of made.joins) joins.add(join)
      return made.node
    },
    (original, result) => now.set(original, result)
  )
  return { graph: products.length === 0 ? graph : rebuilt, products, joins }
}

/** A contraction and what is between it and the end, the end included. */
type Between = ReadonlySet<Node>

const isBetween = (node: Node): boolean =>
  traits.isElementwise(node) ||
  node.op === "reshape" ||
  node.op === "transpose" ||
  node.op === "slice" ||
  node.op === "concat"

/** Where the slices of each contraction meet again, and what lies between. */
const endsOf = (graph: Graph.Graph): ReadonlyMap<Node, Between> => {
  const ids = new Map(graph.nodes.map((n, i) => [n, i] as const))
  const users = Graph.users(graph)
  const outputs = new Set(graph.outputs.map((o) => o.node))
  const ends = new Map<Node, Between>()
  for (const dot of graph.nodes) {
    if (dot.op !== "dot") continue
    const between = new Set<Node>([dot])
    const waiting = new Set(outputs.has(dot) ? [] : users.get(dot))
    let slices = 0
    while (waiting.size > 0 && between.size < mostBetween) {
      const node = [...waiting].reduce((a, b) => ((ids.get(a) as number) < (ids.get(b) as number) ? a : b))
      waiting.delete(node)
      if (!isBetween(node)) break
      between.add(node)
      if (node.op === "slice") slices++
      if (waiting.size === 0 && slices > 1) {
        ends.set(node, between)
        break
      }
      if (outputs.has(node)) break
      for (const user of users.get(node) as ReadonlyArray<Node>) waiting.add(user)
    }
  }
  return ends
}

interface Made {
  readonly node: Node
  readonly dots: readonly [Node, Node]
  readonly joins: ReadonlySet<Node>
}

/** The end as an expression over two contractions: as it is, or cut in two itself where it is of whole rows. */
const parted = (
  end: Node,
  between: Between,
  now: (n: Node) => Node,
  build: Graph.Builder
): Made | undefined => {
  const { shape } = end.type
  const attempt = (make: (reader: Reader) => Node | undefined): Made | undefined => {
    const reader = readerOf(between, now, build)
    const node = make(reader)
    const [first, second, ...others] = reader.dots
    if (node === undefined || first === undefined || second === undefined || others.length > 0)
      return undefined
    return areTwins(first, second) ? { node, dots: [first, second], joins: reader.joins } : undefined
  }
  const asItIs = attempt((reader) => reader.read(end, PartView.whole(shape)))
  if (asItIs !== undefined) return asItIs
  for (const axis of [...shape.keys()].reverse()) {
    const size = (Dim.value(shape[axis] as Dim.Dim) ?? 1) / 2
    if (!Number.isInteger(size)) continue
    for (const apart of [false, true]) {
      const runs = [0, 1].map((n) =>
        apart ? { axis, start: n, step: 2, size } : { axis, start: n * size, step: 1, size }
      )
      const made = attempt((reader) => {
        const parts = runs.map((run) => reader.read(end, PartView.along(shape, run)))
        return parts.includes(undefined) ? undefined : reader.join(parts as ReadonlyArray<Node>, axis, apart)
      })
      if (made !== undefined) return made
    }
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
}

/** The operand of a concat that all of a run lies in, and its view. */
const partOf = (
  { operands, attrs: { axis } }: NodeOf<"concat">,
  { cuts }: PartView.PartView,
  run: PartView.Run
): { readonly node: Node; readonly view: PartView.PartView } | undefined => {
  if (cuts[axis]?.length !== 1 || run.axis !== PartView.firstCut(cuts, axis)) return undefined
  let start = 0
  for (const node of operands) {
    const d = node.type.shape[axis] as Dim.Dim
    const size = Dim.value(d)
    if (size === undefined) return undefined
    const own = { ...run, start: run.start - start }
    if (own.start >= 0 && own.start + own.step * (own.size - 1) < size) {
      const isWhole = own.step === 1 && own.size === size
      return { node, view: { cuts: cuts.with(axis, [d]), run: isWhole ? undefined : own } }
    }
    start += size
  }
  return undefined
}

const readerOf = (between: Between, now: (n: Node) => Node, build: Graph.Builder): Reader => {
  const dots = new Set<Node>()
  const joins = new Set<Node>()
  const known = new Map<Node, Map<string, Node | undefined>>()
  const shaped = (x: Node, shape: Shape.Shape): Node => {
    const base = x.op === "reshape" ? (x.operands[0] as Node) : x
    return Shape.equals(base.type.shape, shape) ? base : (build.add("reshape", [base], { shape }) as Node)
  }
  const joined = (parts: ReadonlyArray<Node>, axis: number): Node => {
    const join = build.add("concat", parts, { axis }) as Node
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
      return build.add("cast", [x], node.attrs, origin) as Node
    }
    const { cuts, run } = view
    const part = node.op === "concat" && run !== undefined ? partOf(node, view, run) : undefined
    if (part !== undefined) return outside(part.node, part.view)
    const x = shaped(now(node), cuts.flat())
    if (run === undefined) return x
    const { shape } = x.type
    const pick = (own: number, other: (d: Dim.Dim) => Dim.Dim): Shape.Shape =>
      shape.map((d, axis) => (axis === run.axis ? Dim.constant(own) : other(d)))
    return build.add(
      "slice",
      [x],
      {
        starts: pick(run.start, () => Dim.zero),
        stops: pick(run.start + run.step * (run.size - 1) + 1, (d) => d),
        steps: shape.map((_, axis) => (axis === run.axis ? run.step : 1))
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
      return all(operands) ? (build.add(node.op, operands, node.attrs as never, origin) as Node) : undefined
    }
    switch (node.op) {
      case "dot":
        return product(node, view)
      case "transpose": {
        const before = PartView.beforeTranspose(view, node)
        const moved = read(x, before.view)
        return moved && (build.add("transpose", [moved], { perm: before.perm }, origin) as Node)
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
    const at = PartView.firstCut(view.cuts, axis)
    if (view.run?.axis === at) {
      const part = partOf(node, view, view.run)
      return part && read(part.node, part.view)
    }
    if (view.cuts[axis]?.length !== 1) return undefined
    const parts = node.operands.map((o) => {
      const cuts = view.cuts.with(axis, [o.type.shape[axis] as Dim.Dim])
      return read(o, { ...view, cuts })
    })
    return all(parts) ? joined(parts, at) : undefined
  }

  /** The contraction of some columns is the contraction with some columns. */
  const product = (dot: NodeOf<"dot">, view: PartView.PartView): Node | undefined => {
    const [lhs, rhs] = dot.operands as readonly [Node, Node]
    const { lhsBatch, lhsContract, rhsBatch, rhsContract } = dot.attrs
    const free = rhs.type.shape.flatMap((_, axis) =>
      rhsBatch.includes(axis) || rhsContract.includes(axis) ? [] : [axis]
    )
    const first = dot.type.shape.length - free.length
    const at = PartView.runAt(view)
    if (view.run === undefined || at === undefined || at.axis < first) return undefined
    const cuts = rhs.type.shape.map((d, axis) =>
      free.includes(axis) ? (view.cuts[first + free.indexOf(axis)] as Shape.Shape) : [d]
    )
    const placeOf = (axis: number): number => PartView.firstCut(cuts, axis)
    const run = { ...view.run, axis: placeOf(free[at.axis - first] as number) + at.cut }
    const attrs = {
      lhsBatch,
      lhsContract,
      rhsBatch: rhsBatch.map(placeOf),
      rhsContract: rhsContract.map(placeOf)
    }
    const own = build.add("dot", [now(lhs), outside(rhs, { cuts, run })], attrs, {
      at: dot.at,
      label: dot.label
    }) as Node
    dots.add(own)
    return own
  }

  return {
    read,
    dots,
    joins,
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
