import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type * as Node from "../../ir/Node.ts"
import { named, ops } from "../Pattern.ts"
import * as Rule from "../Rule.ts"

const { mul, reduce_sum } = ops

/** A factor without the broadcasts that stretched it, whose axes stand under the last axes of the product. */
const unstretched = (node: Node.Node): Node.Node =>
  node.op === "broadcast" ? unstretched(node.operands[0] as Node.Node) : node

/** Axes of the product along which a factor has elements of its own. */
const ownAxes = (factor: Node.Node, rank: number): ReadonlyArray<number> =>
  factor.type.shape.flatMap((d, i) => (Dim.isOne(d) ? [] : [i + rank - factor.type.shape.length]))

/** Σ a b over axes that both have, where each has an axis that the other lacks: a product larger than either, as a contraction. */
const asContraction = (m: Rule.Match): Node.Node | undefined => {
  const sum = m.as("sum", "reduce_sum")
  const product = sum.operands[0] as Node.Node
  const rank = product.type.shape.length
  const [a, b] = [unstretched(m.get("a")), unstretched(m.get("b"))]
  if (!DType.isFloat(product.type.dtype)) return undefined
  const [left, right] = [ownAxes(a, rank), ownAxes(b, rank)]
  const summed = sum.attrs.axes.filter((axis) => !Dim.isOne(product.type.shape[axis] as Dim.Dim))
  if (summed.length === 0 || !summed.every((axis) => left.includes(axis) && right.includes(axis)))
    return undefined
  const rest = (axes: ReadonlyArray<number>) => axes.filter((axis) => !summed.includes(axis))
  const batch = rest(left).filter((axis) => right.includes(axis))
  const free = (axes: ReadonlyArray<number>) => rest(axes).filter((axis) => !batch.includes(axis))
  const [own, other] = [free(left), free(right)]
  if (own.length === 0 || other.length === 0) return undefined
  // Where lengths only happen to be equal, the product says what is assumed of them.
  const same = [...batch, ...summed].every((axis) => Dim.equals(sizeAt(a, axis, rank), sizeAt(b, axis, rank)))
  if (!same) return undefined
  const narrow = (x: Node.Node, axes: ReadonlyArray<number>) =>
    m.build("reshape", [x], { shape: axes.map((axis) => sizeAt(x, axis, rank)) })
  const at = (axes: ReadonlyArray<number>, list: ReadonlyArray<number>) =>
    list.map((axis) => axes.indexOf(axis))
  const made = m.build("dot", [narrow(a, left), narrow(b, right)], {
    lhsBatch: at(left, batch),
    rhsBatch: at(right, batch),
    lhsContract: at(left, summed),
    rhsContract: at(right, summed)
  })
  const order = [...batch, ...own, ...other]
  const perm = [...order].sort((x, y) => x - y).map((axis) => order.indexOf(axis))
  return m.build("reshape", [m.build("transpose", [made], { perm })], { shape: m.get("root").type.shape })
}

const sizeAt = (x: Node.Node, axis: number, rank: number): Dim.Dim =>
  x.type.shape[axis - rank + x.type.shape.length] as Dim.Dim

/** Contractions that are written as products and sums. */
export const contractions: ReadonlyArray<Rule.Rule> = [
  // Σ_d q[i,1,d] k[1,j,d] = (q kᵀ)[i,j]
  Rule.make("sum-of-products", {
    law: "Σ a b = a · b, where each of a and b has an axis that the other lacks",
    kind: "reassociates",
    match: ({ a, b }) => named("sum", reduce_sum(mul(a, b))),
    rewrite: Rule.by(asContraction),
    example: `%0: f32[B, T, 1, 8] = input {name = "q"}
%1: f32[1, S, 8] = input {name = "k"}
%2: f32[B, T, S, 8] = mul %0, %1
%3: f32[B, T, S] = reduce_sum %2 {axes = [3]}`
  })
]
