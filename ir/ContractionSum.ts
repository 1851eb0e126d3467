import * as Dim from "./Dim.ts"
import type { Graph } from "./Graph.ts"
import { type Node, type NodeOf, specOf } from "./Node.ts"
import * as Shape from "./Shape.ts"

/**
 * A sum, over some axes, of a function of a contraction's elements, as of attention weights over heads. One kernel computes it without the
 * elements in memory: for a tile of rows and columns it takes one entry of the summed axes after the other.
 */
export interface ContractionSum {
  readonly dot: NodeOf<"dot">
  readonly sum: NodeOf<"reduce_sum">
  /** From the operand of the sum back to the contraction: steps that keep elements one to one. The contraction is not among them. */
  readonly chain: ReadonlyArray<Node>
  /** Axes of the sum's operand that are the last free axis of lhs, and the free axis of rhs. They are not summed. */
  readonly row: number
  readonly column: number
}

export const of = (sum: Node, dot: Node): ContractionSum | undefined => {
  if (sum.op !== "reduce_sum" || dot.op !== "dot") return undefined
  const free = (x: Node, taken: ReadonlyArray<number>): number => x.type.shape.length - taken.length
  const { lhsBatch, lhsContract, rhsBatch, rhsContract } = dot.attrs
  const [lhs, rhs] = dot.operands as readonly [Node, Node]
  if (free(lhs, [...lhsBatch, ...lhsContract]) === 0 || free(rhs, [...rhsBatch, ...rhsContract]) !== 1)
    return undefined
  const chain = chainTo(dot, sum.operands[0] as Node, new Set())
  if (chain === undefined) return undefined
  const last = dot.type.shape.length - 1
  const follow = (axis: number): number | undefined =>
    chain.reduceRight<readonly [number | undefined, Node]>(
      ([at, from], node) => [at === undefined ? undefined : moved(from, node, at), node],
      [axis, dot]
    )[0]
  const [row, column] = [follow(last - 1), follow(last)]
  const isKept = (axis: number | undefined): axis is number =>
    axis !== undefined && !sum.attrs.axes.includes(axis)
  return isKept(row) && isKept(column) ? { dot, sum, chain, row, column } : undefined
}

/** The sum of a contraction in the body of a kernel. */
export const find = ({ nodes }: Graph): ContractionSum | undefined => {
  const [dot, sum] = [nodes.find((n) => n.op === "dot"), nodes.find((n) => n.op === "reduce_sum")]
  return dot && sum && of(sum, dot)
}

const chainTo = (dot: Node, node: Node, seen: Set<Node>): ReadonlyArray<Node> | undefined => {
  if (node === dot) return []
  if (seen.has(node)) return undefined
  seen.add(node)
  const { family } = specOf(node.op)
  const elementwise = family === "elementwise" || family === "compare"
  if (!elementwise && node.op !== "reshape" && node.op !== "transpose") return undefined
  for (const operand of node.operands) {
    if (elementwise && !Shape.equals(operand.type.shape, node.type.shape)) continue
    const rest = chainTo(dot, operand, seen)
    if (rest !== undefined) return [node, ...rest]
  }
  return undefined
}

/** Where an axis of `from` is in `to`, which moves its elements; undefined where a reshape cuts or joins it. */
const moved = (from: Node, to: Node, axis: number): number | undefined => {
  if (to.op === "transpose") return to.attrs.perm.indexOf(axis)
  if (to.op !== "reshape") return axis
  const before = (n: Node, end: number): Dim.Dim => Shape.size(n.type.shape.slice(0, end))
  const found = to.type.shape.findIndex(
    (d, a) => Dim.equals(d, from.type.shape[axis] as Dim.Dim) && Dim.equals(before(to, a), before(from, axis))
  )
  return found < 0 ? undefined : found
}
