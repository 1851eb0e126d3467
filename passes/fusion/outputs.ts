import { Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import * as Node from "../../ir/Node.ts"
import type { Attention, Refusal, Statistic, Sum } from "./Attention.ts"
import { axisOf, dependsOn } from "./contraction.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"
import * as rearrange from "./rearrange.ts"
import { operandsOf } from "./terms.ts"
import { isProduct, ofScores } from "./unnormalised.ts"
import type { Walk } from "./Walk.ts"

/** What else people want of attention: statistics of the rows of scores, the weights, sums of the weights over the queries. */

export const isStatistic = (node: Node.Node): node is Statistic =>
  node.op === "logsumexp" || (node.op === "reduce_max" && node.attrs.axes.length === 1)

/** A node that sums over axes of its operand, in one variable for each axis. */
const reduction = (node: Node.Node, axes: ReadonlyArray<number>) => {
  const x = node.operands[0] as Node.Node
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
  return { x, sum, at: all.map((d) => IndexExpr.variable(d.name, d.size)) }
}

/** The scores whose rows a node reads, where nobody asks for what they weigh. */
export const findStatistic = (walk: Walk, node: Statistic): Result.Result<Attention, Refusal> => {
  const axis = axisOf(node)
  const { x, sum, at } = reduction(node, [axis])
  const score = walk.element(x, at)
  return Result.map(operandsOf(walk, sum, score, node), (operands) => ({
    ...operands,
    sum,
    score,
    sinks: [],
    weight: walk.table.constant(1, score.dtype),
    key: sum.key,
    softmax: { node, rows: at.filter((_, a) => a !== axis) },
    logits: new Map(operands.terms.map((t, n) => [t.load as Element.Element, n] as const))
  }))
}

const wide = (x: Node.Node): Node.Node => rearrange.cast(x, DType.promote(x.type.dtype, "f32"))

/** The sum of each row of a function of scores: what weights that were normalised by hand are divided by. */
export const findRows = (
  walk: Walk,
  node: Node.NodeOf<"reduce_sum">
): Result.Result<Attention, Refusal | undefined> => {
  const { x, sum, at } = reduction(node, node.attrs.axes)
  const score = walk.element(x, at)
  return Result.flatMap(ofScores(walk, sum, score), (found) =>
    isProduct(walk, found) ? Result.fail(undefined) : Result.succeed(found)
  )
}

const lowest = (dtype: DType.DType): number => (dtype === "f64" ? DType.maxFinite.f64 : DType.maxFinite.f32)

/** The log-sum-exp of each row that a softmax normalises, in a type that exponentials of differences survive. */
const logSumExp = (softmax: Node.NodeOf<"softmax">): Node.Node =>
  Node.make(
    "logsumexp",
    [wide(softmax.operands[0] as Node.Node)],
    { axis: softmax.attrs.axis },
    {
      at: softmax.at
    }
  ) as Node.Node

/**
 * Sums over queries of any function of softmax weights: attention in which keys and queries change places, and the weight of a pair is
 * exp(score - log-sum-exp), which needs the log-sum-exp of all rows first.
 */
export const findColumns = (
  walk: Walk,
  node: Node.NodeOf<"reduce_sum">
): Result.Result<
  { readonly attention: Attention; readonly sums: ReadonlySet<Node.Node> },
  Refusal | undefined
> => {
  const { table } = walk
  const { x, sum, at } = reduction(node, node.attrs.axes)
  const weights = walk.element(x, at)
  const leaves = Element.reachable(table, [weights]).filter(
    (e): e is Element.Load & { readonly of: Node.NodeOf<"softmax"> } =>
      e._tag === "load" && e.of.op === "softmax"
  )
  const sums = new Set<Node.Node>()
  // Sums over keys, of rows, are not sums of columns.
  const rowwise = leaves.some((e) => dependsOn([e.at[e.of.attrs.axis] as IndexExpr.IndexExpr], sum.key))
  if (leaves.length === 0 || rowwise) return Result.fail(undefined)
  const exponentials = new Map<Element.Element, Element.Element>()
  for (const leaf of leaves) {
    const lse = logSumExp(leaf.of)
    sums.add(lse)
    const { dtype } = lse.type
    const own = table.load(
      lse,
      leaf.at.filter((_, axis) => axis !== leaf.of.attrs.axis)
    )
    // A row without keys has the log-sum-exp -inf, and no weight.
    const least = table.apply("max", [own, table.constant(-lowest(dtype), dtype)], dtype)
    const score = table.apply("cast", [walk.element(leaf.of.operands[0] as Node.Node, leaf.at)], dtype)
    exponentials.set(leaf, table.apply("exp", [table.apply("sub", [score, least], dtype)], dtype))
  }
  const score = Element.rebuild(table, weights, new Map(), (e) => exponentials.get(e))
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
 * Softmax weights as exponentials of scores less their log-sum-exp, which attention gives: elementwise, so that the contraction that makes
 * the scores writes them. `node` is the softmax, or a slice of it that leaves columns out; `lse` has an element for each row.
 */
export const weights = (
  node: Node.Node,
  softmax: Node.NodeOf<"softmax">,
  lse: Node.Node
): Node.Node | undefined => {
  const { axis } = softmax.attrs
  const all = softmax.operands[0] as Node.Node
  const own = node.op === "slice" ? partOf(node, all, axis) : all
  if (own === undefined) return undefined
  const scores = wide(own)
  const { dtype } = scores.type
  const origin = { at: softmax.at, label: softmax.label }
  const make = <K extends "sub" | "exp" | "select" | "is_inf">(
    op: K,
    ...operands: ReadonlyArray<Node.Node>
  ) => Node.make(op, operands, {} as never, origin) as unknown as Node.Node
  const row = rearrange.reshape(
    rearrange.cast(lse, dtype),
    all.type.shape.map((d, i) => (i === axis ? Dim.one : d))
  )
  const zero = Node.make("constant", [], { values: [0], type: { dtype, shape: [] } }) as Node.Node
  // A score that is infinite is one of a masked key; in a row without keys the log-sum-exp is infinite too.
  const weight = make("select", make("is_inf", scores), zero, make("exp", make("sub", scores, row)))
  return rearrange.cast(weight, node.type.dtype)
}
