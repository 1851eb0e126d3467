import { Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import * as Node from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"
import { uniform } from "../Pattern.ts"
import type { Attention, Refusal, Statistic, Sum } from "./Attention.ts"
import { dependsOn } from "./contraction.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"
import * as rearrange from "./rearrange.ts"
import * as rows from "./rows.ts"
import { operandsOf } from "./terms.ts"
import { isProduct, ofScores } from "./unnormalised.ts"
import { unrounded } from "./unrounded.ts"
import type { Walk } from "./Walk.ts"

/** What else people want of attention: statistics of the rows of scores, the weights, sums of the weights over the queries. */

/** The scores that a node is a statistic of. */
export interface OfScores {
  readonly output: Statistic
  readonly scores: Node.Node
  readonly axis: number
}

export const statisticOf = (node: Node.Node): OfScores | undefined => {
  const [x] = node.operands
  if (x === undefined) return undefined
  if (node.op === "logsumexp") return { output: "lse", scores: x, axis: node.attrs.axis }
  if (node.op !== "reduce_max" && node.op !== "reduce_sum") return undefined
  const [axis, another] = node.attrs.axes
  if (axis === undefined || another !== undefined) return undefined
  if (node.op === "reduce_max") return { output: "max", scores: x, axis }
  const summed = scoresUnder(x, axis)
  return summed && { output: "sum", scores: summed, axis }
}

/** The scores of exponentials less the maximum of their row, 0 where a score is infinite. */
const scoresUnder = (weights: Node.Node, axis: number): Node.Node | undefined => {
  const [infinite, nothing, exponential] = weights.operands
  const [x, shift] = exponential?.operands[0]?.operands ?? []
  if (weights.op !== "select" || x === undefined || shift === undefined) return undefined
  const written = exponential?.op === "exp" && exponential.operands[0]?.op === "sub"
  const guarded = infinite?.op === "is_inf" && infinite.operands[0] === x
  if (!written || !guarded || uniform(nothing as Node.Node) !== 0) return undefined
  const max = rows.rowOf(shift, x, axis)
  const own = max?.op === "reduce_max" && max.operands[0] === x && max.attrs.axes.join() === `${axis}`
  return own ? x : undefined
}

/** A node that sums over axes of a value, in one variable for each axis. */
const reduction = (node: Node.Node, x: Node.Node, axes: ReadonlyArray<number>) => {
  const all = x.type.shape.map((size, axis) => ({ name: `${axes.includes(axis) ? "k" : "q"}${axis}`, size }))
  const names = (keys: boolean) => all.flatMap((d, axis) => (axes.includes(axis) === keys ? [d.name] : []))
  const query = names(false)
  const sum: Sum = {
    node,
    all,
    shared: [],
    query,
    key: names(true),
    width: [],
    result: query,
    values: undefined
  }
  return { sum, at: all.map((d) => IndexExpr.variable(d.name, d.size)) }
}

/** Attention whose rows a node reads, where nobody asks for what they weigh. */
export const findStatistic = (
  walk: Walk,
  node: Node.Node,
  { scores, axis }: OfScores
): Result.Result<Attention, Refusal> => {
  const { sum, at } = reduction(node, scores, [axis])
  const score = walk.element(scores, at)
  return Result.map(operandsOf(walk, sum, score, node), (operands) => ({
    ...operands,
    sum,
    score,
    sinks: [],
    weight: walk.table.constant(1, score.dtype),
    key: sum.key,
    softmax: { node, scores, axis, rows: at.filter((_, a) => a !== axis) },
    logits: new Map(operands.terms.map((t, n) => [t.load as Element.Element, n] as const))
  }))
}

const wide = (x: Node.Node): Node.Node => rearrange.cast(x, DType.promote(x.type.dtype, "f32"))

/** The sum of each row of a function of scores: what weights that were normalised by hand are divided by. */
export const findRows = (
  walk: Walk,
  node: Node.NodeOf<"reduce_sum">
): Result.Result<Attention, Refusal | undefined> => {
  const x = node.operands[0] as Node.Node
  const { sum, at } = reduction(node, x, node.attrs.axes)
  const score = walk.element(x, at)
  return Result.flatMap(ofScores(walk, sum, score), (found) =>
    isProduct(walk, found) ? Result.fail(undefined) : Result.succeed(found)
  )
}

/** An expression of nodes that stand where a softmax stood. */
const written =
  ({ at, label }: Node.Node) =>
  <K extends OpName>(op: K, operands: ReadonlyArray<Node.Node>, attrs: Node.AttrsOf<K>): Node.Node =>
    Node.make(op, operands, attrs, { at, label }) as unknown as Node.Node

/** A value for each row, seen at every element of the scores. */
const along = (row: Node.Node, { scores, axis }: Rows): Node.Node =>
  rearrange.reshape(
    row,
    scores.type.shape.map((d, i) => (i === axis ? Dim.one : d))
  )

interface Rows {
  readonly scores: Node.Node
  readonly axis: number
}

/** exp(x - max), 0 where x is infinite: a masked key, whose row may have no maximum. */
const exponentials = (x: Node.Node, max: Node.Node, of: Rows, about: Node.Node): Node.Node => {
  const make = written(about)
  const zero = make("constant", [], { values: [0], type: { dtype: x.type.dtype, shape: [] } })
  const exp = make("exp", [make("sub", [x, along(max, of)], {})], {})
  return make("select", [make("is_inf", [x], {}), zero, exp], {})
}

/** The maximum and the sum of each row that a softmax normalises, in a type that exponentials of differences survive. */
const statisticsOf = (
  softmax: Node.NodeOf<"softmax">
): { readonly max: Node.Node; readonly sum: Node.Node } => {
  const make = written(softmax)
  const { axis } = softmax.attrs
  const scores = wide(softmax.operands[0] as Node.Node)
  const max = make("reduce_max", [scores], { axes: [axis] })
  const sum = make("reduce_sum", [exponentials(scores, max, { scores, axis }, softmax)], { axes: [axis] })
  return { max, sum }
}

/**
 * Sums over queries of any function of softmax weights: attention in which keys and queries change places, and the weight of a pair is
 * exp(score - maximum) / sum, which needs the maximum and the sum of all rows first.
 */
export const findColumns = (
  walk: Walk,
  node: Node.NodeOf<"reduce_sum">
): Result.Result<
  { readonly attention: Attention; readonly sums: ReadonlySet<Node.Node> },
  Refusal | undefined
> => {
  const { table } = walk
  const x = node.operands[0] as Node.Node
  const { sum, at } = reduction(node, x, node.attrs.axes)
  const weights = walk.element(x, at)
  const leaves = Element.reachable(table, [weights]).filter(
    (e): e is Element.Load & { readonly of: Node.NodeOf<"softmax"> } =>
      e._tag === "load" && e.of.op === "softmax"
  )
  const sums = new Set<Node.Node>()
  // Sums over keys, of rows, are not sums of columns.
  const rowwise = leaves.some((e) => dependsOn([e.at[e.of.attrs.axis] as IndexExpr.IndexExpr], sum.key))
  if (leaves.length === 0 || rowwise) return Result.fail(undefined)
  const quotients = new Map<Element.Element, Element.Element>()
  for (const leaf of leaves) {
    const known = statisticsOf(leaf.of)
    for (const node of [known.max, known.sum]) sums.add(node)
    const { dtype } = known.max.type
    const row = leaf.at.filter((_, axis) => axis !== leaf.of.attrs.axis)
    const atLeast = (node: Node.Node, least: number) =>
      table.apply("max", [table.load(node, row), table.constant(least, dtype)], dtype)
    const score = table.apply("cast", [walk.element(leaf.of.operands[0] as Node.Node, leaf.at)], dtype)
    // A row without keys has the maximum -inf and the sum 0; all others have a key of weight 1.
    const difference = table.apply("sub", [score, atLeast(known.max, -DType.maxFinite.f32)], dtype)
    const weight = table.apply("exp", [difference], dtype)
    quotients.set(leaf, table.apply("div", [weight, atLeast(known.sum, 1)], dtype))
  }
  const score = Element.rebuild(table, weights, new Map(), (e) => quotients.get(e))
  return Result.map(ofScores(walk, sum, score), (attention) => ({ attention, sums }))
}

/** The part of joined tensors that a slice takes; undefined where it takes another part than one as a whole. */
const partOf = (
  { attrs, operands }: Node.NodeOf<"slice">,
  joined: Node.Node,
  axis: number
): Node.Node | undefined => {
  const shape = (operands[0] as Node.Node).type.shape
  const whole = (i: number): boolean =>
    Dim.equals(attrs.starts[i] as Dim.Dim, Dim.zero) &&
    Dim.equals(attrs.stops[i] as Dim.Dim, shape[i] as Dim.Dim)
  if (attrs.steps.some((s) => s !== 1) || shape.some((_, i) => i !== axis && !whole(i))) return undefined
  if (joined.op !== "concat" || joined.attrs.axis !== axis) return undefined
  let start = Dim.zero
  for (const part of joined.operands) {
    const end = Dim.add(start, part.type.shape[axis] as Dim.Dim)
    if (Dim.equals(attrs.starts[axis] as Dim.Dim, start) && Dim.equals(attrs.stops[axis] as Dim.Dim, end))
      return part
    start = end
  }
  return undefined
}

/**
 * Softmax weights as exponentials of scores less their maximum, over their sum, which attention gives: elementwise, so that the contraction
 * that makes the scores writes them. `node` is the softmax, or a slice of it that leaves columns out.
 */
export const weights = (
  node: Node.Node,
  softmax: Node.NodeOf<"softmax">,
  max: Node.Node,
  sum: Node.Node
): Node.Node | undefined => {
  const of = { scores: softmax.operands[0] as Node.Node, axis: softmax.attrs.axis }
  const own = node.op === "slice" ? partOf(node, of.scores, of.axis) : of.scores
  if (own === undefined) return undefined
  const scores = wide(unrounded(own))
  const over = exponentials(scores, rearrange.cast(max, scores.type.dtype), of, softmax)
  const make = written(softmax)
  const one = make("constant", [], { values: [1], type: { dtype: over.type.dtype, shape: [] } })
  // A row without keys has the sum 0, and no weights.
  const under = make("max", [rearrange.cast(sum, over.type.dtype), one], {})
  return rearrange.cast(make("div", [over, along(under, of)], {}), node.type.dtype)
}
