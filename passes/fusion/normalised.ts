import { Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import type * as Node from "../../ir/Node.ts"
import * as TensorType from "../../ir/TensorType.ts"
import type { Attention, Refusal, Scores, Sum } from "./Attention.ts"
import { sizeOf, sumOf } from "./contraction.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"
import { coefficients } from "./linear.ts"
import { operandsOf } from "./terms.ts"
import type { Walk } from "./Walk.ts"

/** Attention whose weights are softmax results, or sums of several, each times a factor. */

type Found<A> = Result.Result<A, Refusal>
type Leaf = Element.Load & { readonly of: Node.NodeOf<"softmax"> }

const nearest = "softmax weights contracted with values"

/** At most this many columns without values may stand beside the keys. */
const mostSinks = 4

/** A softmax for each pair of a query and a key is a kernel for each: more than a few are better left as they are. */
const mostSoftmaxes = 4

/** The scores of a softmax, whose normalised axis must be the axis that the values are summed over. */
const scoresOf = (walk: Walk, v: Sum, leaf: Leaf, weight: Element.Element): Found<Scores> => {
  const softmax = leaf.of
  const refuse = (failed: string, suggestion: string): Found<never> =>
    Result.fail({ node: softmax, nearest, failed, suggestion })
  const { axis } = softmax.attrs
  const column = leaf.at[axis] as IndexExpr.IndexExpr
  const rows = leaf.at.filter((_, a) => a !== axis)
  const first = column.constant
  const length = Dim.product(v.all.filter((d) => v.key.includes(d.name)).map((d) => d.size))
  const counted = IndexExpr.digits(IndexExpr.sub(column, IndexExpr.dim(first)), length)
  if (counted === undefined || counted.some((d) => !v.key.includes(d.name))) {
    const over = v.key.length === 0 ? "no axis" : "another axis"
    return refuse(
      `the softmax normalises axis ${axis} of ${TensorType.print(softmax.type)}, but the contraction sums over ${over} of the weights`,
      "normalise over the keys, and contract the weights with the values over the same axis"
    )
  }
  const behind = Dim.value(Dim.sub(Dim.sub(sizeOf(softmax, axis), length), first))
  const before = Dim.value(first)
  if (
    behind === undefined ||
    before === undefined ||
    behind < 0 ||
    before < 0 ||
    before + behind > mostSinks
  ) {
    return refuse(
      `the softmax runs over ${Dim.print(sizeOf(softmax, axis))} columns and the values over ${Dim.print(length)}`,
      "leave only a few constant columns (sinks) without values"
    )
  }
  const scores = softmax.operands[0] as Node.Node
  const columnAt = (e: IndexExpr.IndexExpr) => leaf.at.map((own, a) => (a === axis ? e : own))
  const sinks = [
    ...Array.from({ length: before }, (_, n) => IndexExpr.constant(n)),
    ...Array.from({ length: behind }, (_, n) =>
      IndexExpr.dim(Dim.add(Dim.add(first, length), Dim.constant(n)))
    )
  ].map((e) => walk.element(scores, columnAt(e)))
  return Result.succeed({
    score: walk.element(scores, leaf.at),
    sinks,
    weight,
    key: counted.map((d) => d.name),
    softmax: { node: softmax, scores, axis, rows }
  })
}

/** Reads attention off the contraction `node` whose operand `side` carries softmax weights: one for each softmax, to be added. */
export const find = (
  walk: Walk,
  node: Node.NodeOf<"dot">,
  side: 0 | 1
): Found<readonly [Attention, ...ReadonlyArray<Attention>]> =>
  Result.gen(function* () {
    const { sum, weights: at } = sumOf(node, side)
    const weights = walk.element(at.node, at.at)
    const leaves = Element.reachable(walk.table, [weights]).filter(
      (e): e is Leaf => e._tag === "load" && e.of.op === "softmax"
    )
    if (leaves.length === 0 || leaves.length > mostSoftmaxes) {
      return yield* Result.fail({
        node,
        nearest,
        failed:
          leaves.length === 0
            ? "no softmax reaches the contraction"
            : `${leaves.length} softmax results are combined before the contraction`,
        suggestion: "contract each softmax with the values by itself and combine the results"
      })
    }
    const factors = yield* Result.mapError(
      coefficients(walk.table, weights, leaves),
      (failed): Refusal => ({
        node,
        nearest,
        failed,
        suggestion: "use factors and dropout masks only between the softmax and the values"
      })
    )
    const found: Array<Attention> = []
    for (const leaf of leaves) {
      const weight = factors.get(leaf)
      // A softmax that only a guard against its NaN reads, or that is replaced by 0 throughout.
      if (weight === undefined || Element.constantOf(weight) === 0) continue
      const scores = yield* scoresOf(walk, sum, leaf, weight)
      const operands = yield* operandsOf(walk, sum, scores.score, leaf.of)
      const logits = new Map(operands.terms.map((t, n) => [t.load as Element.Element, n] as const))
      found.push({ ...scores, ...operands, sum, logits })
    }
    const [first, ...rest] = found
    if (first === undefined)
      return yield* Result.fail({
        node,
        nearest,
        failed: "the weights are 0 everywhere",
        suggestion: "leave the contraction out"
      })
    return [first, ...rest] as const
  })
