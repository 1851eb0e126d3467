import { Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import type * as Node from "../../ir/Node.ts"
import type { Attention, Operand, Refusal, Sum } from "./Attention.ts"
import { sumOf } from "./contraction.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"
import { coefficients } from "./linear.ts"
import { operandsOf } from "./terms.ts"
import type { Walk } from "./Walk.ts"

/** Attention whose weights are a function of the scores and no softmax: sigmoid, ReLU, retention, weights that were normalised by hand. */

/** The index variables that an element depends on. */
const variablesOf = (table: Element.Table, root: Element.Element): ReadonlySet<string> => {
  const names = new Set<string>()
  const add = (e: IndexExpr.IndexExpr): void => {
    for (const name of IndexExpr.variables(e)) names.add(name)
  }
  for (const e of Element.reachable(table, [root])) {
    if (e._tag === "index") add(e.expr)
    else if (e._tag === "load") e.at.forEach(add)
  }
  return names
}

/**
 * Whether weights are logits times what only queries or only keys decide: (Q Kᵀ) V is a product of three matrices, which any order
 * computes, and the other one needs no scores.
 */
export const isProduct = ({ table }: Walk, { score, sum, logits }: Attention): boolean => {
  const factors = coefficients(table, score, [...logits.keys()])
  if (Result.isFailure(factors)) return false
  return [...factors.success.values()].every((w) => {
    const names = variablesOf(table, w)
    return !sum.key.some((k) => names.has(k)) || !sum.query.some((q) => names.has(q))
  })
}

const namesOf = (o: Operand): ReadonlySet<string> =>
  new Set(o.arranged.axes.flatMap((axis) => axis.map((d) => d.name)))

/**
 * Whether keys are tokens rather than the hidden units of a layer: their number is a length of the call, or queries, keys and values
 * belong together along some axis (batch, head), where the weights of a layer are shared by all.
 */
export const isOverTokens = ({ sum, terms, v }: Pick<Attention, "sum" | "terms" | "v">): boolean => {
  const length = Dim.product(sum.all.filter((d) => sum.key.includes(d.name)).map((d) => d.size))
  if (!Dim.isConstant(length)) return true
  const [{ q, k }] = terms
  const others = [k, ...(v === undefined ? [] : [v])].map(namesOf)
  return [...namesOf(q)].some((name) => others.every((names) => names.has(name)))
}

/** Reads scores that are the weights themselves. */
export const ofScores = (walk: Walk, sum: Sum, score: Element.Element): Result.Result<Attention, Refusal> =>
  Result.map(operandsOf(walk, sum, score, sum.node), (operands) => ({
    ...operands,
    sum,
    score,
    sinks: [],
    weight: walk.table.constant(1, score.dtype),
    key: sum.key,
    softmax: undefined,
    logits: new Map(operands.terms.map((t, n) => [t.load as Element.Element, n] as const))
  }))

/** Reads attention off the contraction `node` whose operand `side` carries a function of what another contraction makes. */
export const find = (walk: Walk, node: Node.NodeOf<"dot">, side: 0 | 1): Attention | undefined => {
  const { sum, weights } = sumOf(node, side)
  const found = ofScores(walk, sum, walk.element(weights.node, weights.at))
  if (Result.isFailure(found)) return undefined
  return isOverTokens(found.success) && !isProduct(walk, found.success) ? found.success : undefined
}
