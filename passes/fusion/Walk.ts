import * as Dim from "../../ir/Dim.ts"
import * as Node from "../../ir/Node.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"
import * as views from "./views.ts"

type At = ReadonlyArray<IndexExpr.IndexExpr>
type Position = views.Position

/** Turns elements of tensors into scalar expressions, by walking back through elementwise and movement ops. */
export interface Walk {
  readonly table: Element.Table
  /** The element of a tensor at a position, down to loads of what is neither computed elementwise nor moved. */
  readonly element: (node: Node.Node, at: At) => Element.Element
  /** The one element that a view copies, gathers at computed positions included. */
  readonly source: (node: Node.Node, at: At) => Position | undefined
}

/** Either the element, or what must be known first. */
type Step =
  | { readonly element: Element.Element }
  | { readonly needs: ReadonlyArray<Position>; readonly use: (args: ReadonlyArray<Element.Element>) => Step }

/** Elements made before the rest of an expression is read from memory: no graph costs more than this. */
const budget = 50_000
/** A position that is written longer than this is not going to be proven anything about. */
const longestIndex = 1_000

const alias = (position: Position): Step => ({
  needs: [position],
  use: ([e]) => ({ element: e as Element.Element })
})

/** `stops` are nodes to load from, whatever they are. */
export const make = (stops: ReadonlySet<Node.Node> = new Set()): Walk => {
  const table = Element.table()
  const numbers = new Map<Node.Node, number>()
  const known = new Map<string, Element.Element>()
  const keyOf = ({ node, at }: Position): string => {
    if (!numbers.has(node)) numbers.set(node, numbers.size)
    return `${numbers.get(node)}:${at.map((e) => e.key).join(",")}`
  }

  const leaf = (node: Node.Node, at: At): Step => ({ element: table.load(node, at) })

  const start = ({ node, at }: Position): Step => {
    if (stops.has(node)) return leaf(node, at)
    const family = Node.specOf(node.op).family
    if (node.op === "constant") {
      const [first] = node.attrs.values
      const uniform = first !== undefined && node.attrs.values.every((v) => Object.is(v, first))
      if (uniform) return { element: table.constant(first, node.type.dtype) }
      const counting = node.type.dtype === "i32" && at.length === 1
      const found = counting ? views.fitted(node.attrs.values, at[0] as IndexExpr.IndexExpr) : undefined
      return found === undefined ? leaf(node, at) : { element: table.index(found) }
    }
    if (node.op === "iota") return { element: table.index(at[0] as IndexExpr.IndexExpr) }
    if (node.op === "dim") return { element: table.index(IndexExpr.dim(node.attrs.value)) }
    if (table.size() > budget) return leaf(node, at)
    if (family === "elementwise" || family === "compare") {
      const { op, type } = node
      return {
        needs: node.operands.map((o) => ({ node: o, at: views.broadcasted(at, o.type.shape) })),
        use: (args) => ({ element: table.apply(op, args, type.dtype) })
      }
    }
    if (node.op === "gather") return gathered(node, at)
    const found = views.source(node, at)
    if (found !== undefined)
      return found.at.some((e) => e.key.length > longestIndex) ? leaf(node, at) : alias(found)
    if (node.op === "concat" && node.operands.length <= 4) return chosen(node, at)
    return node.op === "pad" ? padded(node, at) : leaf(node, at)
  }

  const gathered = (node: Node.NodeOf<"gather">, at: At): Step => {
    const [x, indices] = node.operands as readonly [Node.Node, Node.Node]
    const { axis } = node.attrs
    const rank = indices.type.shape.length
    const size = x.type.shape[axis] as Dim.Dim
    return {
      needs: [{ node: indices, at: at.slice(axis, axis + rank) }],
      use: ([e]) => {
        const found = clamped(e as Element.Element, size)
        return alias({ node: x, at: [...at.slice(0, axis), found, ...at.slice(axis + rank)] })
      }
    }
  }

  /** A computed position, clamped into the axis as `gather` does; bare where it cannot leave it. */
  const clamped = (e: Element.Element, size: Dim.Dim): IndexExpr.IndexExpr => {
    const signed = e.dtype === "i32" ? e : table.apply("cast", [e], "i32")
    if (signed._tag === "index" && IndexExpr.isWithin(signed.expr, size)) return signed.expr
    const last = table.index(IndexExpr.dim(Dim.sub(size, Dim.one)))
    const low = table.apply("max", [signed, table.index(IndexExpr.zero)], "i32")
    return table.asIndex(table.apply("min", [low, last], "i32"), size)
  }

  /** An element of a concat that lies in no part for certain. */
  const chosen = (node: Node.NodeOf<"concat">, at: At): Step => {
    const { axis } = node.attrs
    const x = at[axis] as IndexExpr.IndexExpr
    const starts: Array<Dim.Dim> = [Dim.zero]
    for (const o of node.operands)
      starts.push(Dim.add(starts.at(-1) as Dim.Dim, o.type.shape[axis] as Dim.Dim))
    const needs = node.operands.map((o, k) => ({
      node: o,
      at: at.map((e, i) => (i === axis ? IndexExpr.sub(x, IndexExpr.dim(starts[k] as Dim.Dim)) : e))
    }))
    return {
      needs,
      use: (parts) => ({
        element: parts.reduceRight((later, own, k) => {
          const before = table.apply(
            "lt",
            [table.index(x), table.index(IndexExpr.dim(starts[k + 1] as Dim.Dim))],
            "bool"
          )
          return table.apply("select", [before, own, later], own.dtype)
        })
      })
    }
  }

  const padded = (node: Node.NodeOf<"pad">, at: At): Step => {
    const x = node.operands[0] as Node.Node
    const own = at.map((e, i) => IndexExpr.sub(e, IndexExpr.dim(node.attrs.low[i] as Dim.Dim)))
    return {
      needs: [{ node: x, at: own }],
      use: ([e]) => {
        const inside = own.reduce(
          (all, p, i) => {
            const [index, size] = [table.index(p), table.index(IndexExpr.dim(x.type.shape[i] as Dim.Dim))]
            const from = table.apply("ge", [index, table.index(IndexExpr.zero)], "bool")
            const below = table.apply("lt", [index, size], "bool")
            return table.apply("and", [all, table.apply("and", [from, below], "bool")], "bool")
          },
          table.constant(1, "bool")
        )
        const filling = table.constant(node.attrs.value, node.type.dtype)
        return { element: table.apply("select", [inside, e as Element.Element, filling], node.type.dtype) }
      }
    }
  }

  const element = (node: Node.Node, at: At): Element.Element => {
    const root = keyOf({ node, at })
    const stack: Array<{ readonly key: string; step: Step }> = known.has(root)
      ? []
      : [{ key: root, step: start({ node, at }) }]
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      if ("element" in top.step) {
        known.set(top.key, top.step.element)
        stack.pop()
        continue
      }
      const missing = top.step.needs.find((p) => !known.has(keyOf(p)))
      if (missing === undefined)
        top.step = top.step.use(top.step.needs.map((p) => known.get(keyOf(p)) as Element.Element))
      else stack.push({ key: keyOf(missing), step: start(missing) })
    }
    return known.get(root) as Element.Element
  }

  const source = (node: Node.Node, at: At): Position | undefined => {
    if (node.op !== "gather") return views.source(node, at)
    const { axis } = node.attrs
    const [x, indices] = node.operands as readonly [Node.Node, Node.Node]
    const rank = indices.type.shape.length
    const e = element(indices, at.slice(axis, axis + rank))
    const signed = e.dtype === "i32" ? e : table.apply("cast", [e], "i32")
    if (signed._tag !== "index" || !IndexExpr.isWithin(signed.expr, x.type.shape[axis] as Dim.Dim))
      return undefined
    return { node: x, at: [...at.slice(0, axis), signed.expr, ...at.slice(axis + rank)] }
  }

  return { table, element, source }
}
