import * as Dim from "../../ir/Dim.ts"
import * as Node from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"
import * as TensorType from "../../ir/TensorType.ts"
import type { Refusal } from "./Attention.ts"

/** What softmax weights pass through on their way to the values. */
export const isTransparent = (node: Node.Node): boolean => {
  const { family } = Node.specOf(node.op)
  return family === "elementwise" || family === "compare" || family === "movement"
}

/** As far as a diagnostic looks: what people write between an exp and its sum is a handful of nodes. */
const farthest = 64

/** The nearest nodes of some ops behind a node, through ops that change no element's neighbours. */
const behind = (node: Node.Node, ...ops: ReadonlyArray<OpName>): ReadonlyArray<Node.Node> => {
  const seen = new Set([node])
  const found: Array<Node.Node> = []
  for (const next of seen) {
    if (ops.includes(next.op)) found.push(next)
    else if (isTransparent(next) && seen.size < farthest) for (const o of next.operands) seen.add(o)
  }
  return found
}

const withoutCasts = (node: Node.Node): Node.Node => {
  let own = node
  while (own.op === "cast") own = own.operands[0] as Node.Node
  return own
}

const named = (node: Node.Node): string =>
  node.op === "input" ? `the input ${node.attrs.name}` : `${node.op} of ${TensorType.print(node.type)}`

const otherThan = (a: Node.Node, b: Node.Node): string =>
  named(a) === named(b) ? `another ${b.op}` : named(b)

/** Whether exponentials of what a contraction makes are behind a node. */
const isExponential = (node: Node.Node): boolean =>
  behind(node, "exp", "exp2").some((e) => behind(e.operands[0] as Node.Node, "dot").length > 0)

/** Where two expressions part: the first pair of nodes on the way back that are not one, all else being equal. */
const parting = (a: Node.Node, b: Node.Node): readonly [Node.Node, Node.Node] => {
  if (a.op !== b.op || a.operands.length !== b.operands.length) return [a, b]
  const pairs = a.operands.flatMap((x, i) => {
    const y = b.operands[i] as Node.Node
    return x === y ? [] : [[x, y] as const]
  })
  const [pair, another] = pairs
  return pair === undefined || another !== undefined
    ? [a, b]
    : parting(withoutCasts(pair[0]), withoutCasts(pair[1]))
}

const summing = ["reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "cumsum"] as const

/** Why `under` is not the sum of each row of `weights`; undefined where it may be, or has nothing to do with them. */
const otherDivisor = (weights: Node.Node, under: Node.Node): string | undefined => {
  const found = behind(under, ...summing).filter((s) => isExponential(s.operands[0] as Node.Node))
  const own = found.find((s) => s.op === "reduce_sum" && withoutCasts(s.operands[0] as Node.Node) === weights)
  if (own === undefined) {
    const sum = found.find((s) => s.op === "reduce_sum")
    const [other] = found
    if (sum === undefined)
      return other && `the exponentials are divided by ${named(other)}, not by their sum over the keys`
    const [above, below] = parting(weights, withoutCasts(sum.operands[0] as Node.Node))
    return `the sum is not of the exponentials that it divides: these have ${named(above)} where the sum has ${otherThan(
      above,
      below
    )}`
  }
  const { shape } = weights.type
  const axes = (own as Node.NodeOf<"reduce_sum">).attrs.axes.filter((a) => !Dim.isOne(shape[a] as Dim.Dim))
  const [axis, another] = axes
  if (axis === undefined) return undefined
  // Shapes broadcast from the last axis: the sum of a row has length 1 where the row has its elements.
  const summed = under.type.shape[axis - (shape.length - under.type.shape.length)] ?? Dim.one
  if (another !== undefined || !Dim.isOne(summed)) {
    const which = `${another === undefined ? "axis" : "axes"} ${axes.join(", ")}`
    return `the sum is over ${which} of ${TensorType.print(weights.type)} and divides as ${TensorType.print(under.type)}: not the sum of each row, so no softmax`
  }
  let next = withoutCasts(under)
  while (next !== own && Node.specOf(next.op).family === "movement")
    next = withoutCasts(next.operands[0] as Node.Node)
  if (next !== own) return `the sum of the exponentials goes through \`${next.op}\` before it divides them`
  return weights.op === "exp" || weights.op === "exp2"
    ? undefined
    : `the exponentials go through \`${weights.op}\` before they are summed, so they are the exponentials of no scores`
}

/** A log-sum-exp that does not belong to the scores it is taken from. */
const otherLogSum = (node: Node.Node): string | undefined => {
  const [own] = node.operands
  const [scores, shift] = own?.operands ?? []
  if (node.op !== "exp" || own === undefined || scores === undefined || shift === undefined) return undefined
  const [sum] = own.op === "sub" || own.op === "add" ? behind(shift, "logsumexp") : []
  if (sum === undefined || behind(scores, "dot").length === 0) return undefined
  const of = withoutCasts(sum.operands[0] as Node.Node)
  if (of === withoutCasts(scores))
    return `the log-sum-exp of the scores is not what is subtracted from them, but goes through \`${own.op === "add" ? "add" : shift.op}\``
  const [a, b] = parting(withoutCasts(scores), of)
  return `the log-sum-exp is not of the scores that it is taken from: these have ${named(a)} where it has ${otherThan(
    a,
    b
  )}`
}

const suggestion =
  "sum the very exponentials over the one axis of the keys and keep it (keepDims), or write softmax"

/**
 * Why exponentials of scores that a contraction makes, over something, are not a softmax; undefined where there is no such
 * quotient, or where its divisor may well be the sum of each row.
 */
export const nearSoftmax = (node: Node.Node): Refusal | undefined => {
  const [over, under] = node.operands
  const logSum = otherLogSum(node)
  if (logSum !== undefined)
    return {
      node,
      nearest: "exp of scores less their log-sum-exp, contracted with values",
      failed: logSum,
      suggestion
    }
  if (node.op !== "div" || over === undefined || under === undefined || !isExponential(over)) return undefined
  const failed = otherDivisor(withoutCasts(over), under)
  return failed === undefined
    ? undefined
    : { node, nearest: "exp of scores over its sum, contracted with values", failed, suggestion }
}

/** The same of exponentials that are contracted with values before they are divided. */
export const nearDivision = (node: Node.Node): (Refusal & { readonly product: Node.Node }) | undefined => {
  const [over, under] = node.operands
  if (node.op !== "div" || over === undefined || under === undefined) return undefined
  for (const product of behind(over, "dot")) {
    const weights = product.operands.find(isExponential)
    const sums = weights === undefined ? [] : behind(under, ...summing)
    const sum = sums.find((s) => isExponential(s.operands[0] as Node.Node))
    if (weights === undefined || sum === undefined) continue
    const [own, of] = [withoutCasts(weights), withoutCasts(sum.operands[0] as Node.Node)]
    const [above, below] = parting(own, of)
    return {
      node,
      product,
      nearest: "exp of scores contracted with values, over its sum",
      failed:
        sum.op !== "reduce_sum"
          ? `the values are divided by ${named(sum)}, not by the sum of the exponentials over the keys`
          : own === of
            ? `the sum is over axis ${sum.attrs.axes.join(", ")} of ${TensorType.print(own.type)} and divides as ${TensorType.print(under.type)}: not the sum of each row, so no softmax`
            : `the sum is not of the exponentials that were contracted: these have ${named(above)} where the sum has ${otherThan(above, below)}`,
      suggestion
    }
  }
  return undefined
}

const opaque: ReadonlySet<OpName> = new Set([...summing, "argmax", "gather", "layer_norm", "rms_norm"])

/** Softmax weights of what a contraction makes, behind an op that no factor on the weights stands for. */
export const nearWeights = (node: Node.Node): Refusal | undefined => {
  const [x] = node.operands
  if (!opaque.has(node.op) || x === undefined) return undefined
  if (!behind(x, "softmax").some((p) => behind(p.operands[0] as Node.Node, "dot").length > 0))
    return undefined
  return {
    node,
    nearest: "softmax weights contracted with values",
    failed: `the weights go through \`${node.op}\`, which is not a factor`,
    suggestion: "use factors and dropout masks only between the softmax and the values"
  }
}
