import * as Dim from "../../ir/Dim.ts"
import * as Node from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"
import * as TensorType from "../../ir/TensorType.ts"
import type { Refusal } from "./attention.ts"

/** What softmax weights pass through on their way to the values. */
export const isTransparent = (node: Node.Node): boolean => {
  const { family } = Node.specOf(node.op)
  return family === "elementwise" || family === "compare" || family === "movement"
}

/** As far as a diagnostic looks: what people write between an exp and its sum is a handful of nodes. */
const farthest = 64

/** The nearest nodes of an op behind a node, through ops that change no element's neighbours. */
const behind = <O extends OpName>(node: Node.Node, op: O): ReadonlyArray<Node.NodeOf<O>> => {
  const seen = new Set([node])
  const found: Array<Node.NodeOf<O>> = []
  for (const next of seen) {
    if (next.op === op) found.push(next as Node.NodeOf<O>)
    else if (isTransparent(next) && seen.size < farthest) for (const o of next.operands) seen.add(o)
  }
  return found
}

const withoutCasts = (node: Node.Node): Node.Node => {
  let own = node
  while (own.op === "cast") own = own.operands[0] as Node.Node
  return own
}

/**
 * Why a quotient exp(s) / Σ exp(s) of scores s that a contraction makes is not a softmax; undefined where it is no such
 * quotient, or where its sum may well be that of the rows.
 */
export const nearSoftmax = (node: Node.Node): Refusal | undefined => {
  const [over, under] = node.operands
  if (node.op !== "div" || over === undefined || under === undefined) return undefined
  const weights = withoutCasts(over)
  const sum = behind(under, "reduce_sum").find((s) => withoutCasts(s.operands[0] as Node.Node) === weights)
  if (sum === undefined) return undefined
  if (!behind(weights, "exp").some((e) => behind(e.operands[0] as Node.Node, "dot").length > 0))
    return undefined
  const { shape } = weights.type
  const axes = sum.attrs.axes.filter((a) => !Dim.isOne(shape[a] as Dim.Dim))
  const [axis, another] = axes
  if (axis === undefined) return undefined
  // Shapes broadcast from the last axis: the sum of a row has length 1 where the row has its elements.
  const summed = under.type.shape[axis - (shape.length - under.type.shape.length)] ?? Dim.one
  if (another === undefined && Dim.isOne(summed)) return undefined
  const which = `${another === undefined ? "axis" : "axes"} ${axes.join(", ")}`
  return {
    node,
    nearest: "exp of scores over its sum, contracted with values",
    failed: `the sum is over ${which} of ${TensorType.print(weights.type)} and divides as ${TensorType.print(under.type)}: not the sum of each row, so no softmax`,
    suggestion: "sum over the one axis of the keys and keep it (keepDims), or write softmax"
  }
}
