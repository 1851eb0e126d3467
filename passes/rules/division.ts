import { Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type * as Node from "../../ir/Node.ts"
import * as NodeModule from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import { variablesOf } from "../fusion/contraction.ts"
import * as Element from "../fusion/Element.ts"
import * as IndexExpr from "../fusion/IndexExpr.ts"
import { coefficient } from "../fusion/linear.ts"
import * as rows from "../fusion/rows.ts"
import * as views from "../fusion/views.ts"
import * as Walk from "../fusion/Walk.ts"
import { ops, uniform } from "../Pattern.ts"
import * as Rule from "../Rule.ts"
import { converted, logarithm, unshifted } from "./softmax.ts"

const { div } = ops

/** The sum that a denominator reads, behind views and float conversions. */
const sumBehind = (denominator: Node.Node, at: ReadonlyArray<IndexExpr.IndexExpr>) => {
  const found = rows.resolve(denominator, views.broadcasted(at, denominator.type.shape))
  return found.node.op === "reduce_sum" ? { sum: found.node, at: found.at } : undefined
}

const bare = (node: Node.Node): Node.Node => {
  const [x] = node.operands
  return node.op === "cast" && x !== undefined && DType.isFloat(x.type.dtype) ? bare(x) : node
}

/** Rebuilds `root` with one node replaced; only what depends on it changes. */
const replace = (m: Rule.Match, root: Node.Node, old: Node.Node, by: Node.Node): Node.Node => {
  const made = new Map<Node.Node, Node.Node>([[old, by]])
  for (const node of NodeModule.postOrder([root], made)) {
    const operands = node.operands.map((o) => made.get(o) ?? o)
    const same = operands.every((o, i) => o === node.operands[i])
    made.set(node, same ? node : m.build(node.op, operands, node.attrs as never))
  }
  return made.get(root) as Node.Node
}

/** Σ_j w_j v_j / Σ_j w_j as Σ_j (w_j / Σ w) v_j, where the weights are exponentials: the softmax that was meant. */
const normaliseFirst = (m: Rule.Match): Node.Node | undefined => {
  const [seen, denominator] = [m.get("n"), m.get("d")]
  if (!rows.stretches(seen, m.get("root")) || !rows.stretches(denominator, m.get("root"))) return undefined
  const at = rows.everywhere(m.get("root"))
  const product = rows.resolve(seen, views.broadcasted(at, seen.type.shape))
  if (product.node.op !== "dot") return undefined
  const found = sumBehind(denominator, at)
  if (found === undefined) return undefined
  const axis = found.sum.attrs.axes[0] as number
  const summed = bare(found.sum.operands[0] as Node.Node)
  const y = logarithm(m.build, summed)
  if (y === undefined) return undefined
  for (const side of [0, 1] as const) {
    const v = variablesOf(product.node, side)
    /** Where the contraction is read, for each of its variables. */
    const read = new Map(v.result.map((name, a) => [name, product.at[a] as IndexExpr.IndexExpr] as const))
    const walk = Walk.make(new Set([summed]))
    const weights = walk.element(v.weights, v.weightsAt)
    const leaves = Element.reachable(walk.table, [weights]).filter(
      (e) => e._tag === "load" && e.of === summed
    )
    const [leaf] = leaves
    if (leaf?._tag !== "load" || leaves.length > 1) continue
    if (Result.isFailure(coefficient(walk.table, weights, leaf))) continue
    // Exponentials of a row may be read in any order, and some of them not at all: sinks have no values.
    const rest = rows.withoutAxis(leaf.at, axis).map((e) => IndexExpr.substitute(e, read))
    if (!rows.sameAt(rest, found.at)) continue
    const softmax = m.build("softmax", [unshifted(m.build, y, axis)], { axis })
    const normalised = replace(m, v.weights, summed, converted(m.build, softmax, summed.type.dtype))
    const operands = side === 0 ? [normalised, v.values] : [v.values, normalised]
    return replace(m, seen, product.node, m.build("dot", operands, product.node.attrs))
  }
  return undefined
}

/** exp(y) / (Σ exp(y) + exp(u)): one more column of logit u, without a value. */
const extraColumn = (m: Rule.Match): Node.Node | undefined => {
  const weight = m.get("n")
  const axis = weight.type.shape.length - 1
  const keepsRows = (node: Node.Node): boolean =>
    node.type.shape.length === axis + 1 &&
    node.type.shape.every((d, i) => Dim.equals(d, i === axis ? Dim.one : (weight.type.shape[i] as Dim.Dim)))
  const total = bare(m.get("d"))
  const [a, b] = total.operands
  if (total.op !== "add" || !keepsRows(total) || a === undefined || b === undefined) return undefined
  for (const [sum, extra] of [
    [a, b],
    [b, a]
  ] as const) {
    const row = rows.rowOf(sum, weight, axis)
    const isSum =
      row?.op === "reduce_sum" &&
      row.attrs.axes.join() === `${axis}` &&
      bare(row.operands[0] as Node.Node) === bare(weight)
    const y = logarithm(m.build, weight)
    if (!isSum || y === undefined) continue
    const column = logit(m, y, extra)
    if (column === undefined) continue
    const shape = weight.type.shape.map((d, i) => (i === axis ? Dim.one : d))
    const wide = m.build("broadcast", [converted(m.build, column.logit, column.scores.type.dtype)], { shape })
    const all = m.build("softmax", [m.build("concat", [column.scores, wide], { axis })], { axis })
    const weights = m.build("slice", [all], {
      starts: shape.map(() => Dim.zero),
      stops: weight.type.shape,
      steps: shape.map(() => 1)
    })
    return converted(m.build, weights, weight.type.dtype)
  }
  return undefined
}

/** Scores y and the logit of an extra addend of the denominator, both without the shift m of y = x - m where both have it. */
const logit = (
  m: Rule.Match,
  y: Node.Node,
  extra: Node.Node
): { readonly scores: Node.Node; readonly logit: Node.Node } | undefined => {
  const [from, shift] = y.op === "sub" ? y.operands : []
  // Scores that the shift alone stretches are one row for all, which has no place for a column of each.
  const x = from !== undefined && Shape.equals(from.type.shape, y.type.shape) ? from : undefined
  const value = uniform(extra)
  if (value !== undefined)
    return value > 0 && value < Infinity ? { scores: y, logit: m.constant(Math.log(value)) } : undefined
  if (extra.op !== "exp") return undefined
  const u = extra.operands[0] as Node.Node
  if (x !== undefined && u.op === "neg" && u.operands[0] === shift) return { scores: x, logit: m.constant(0) }
  if (x !== undefined && u.op === "sub" && u.operands[1] === shift)
    return { scores: x, logit: u.operands[0] as Node.Node }
  return { scores: y, logit: u }
}

/** Normalisation at another place than right after the exponential. */
export const divisions: ReadonlyArray<Rule.Rule> = [
  // (Σ w v) / Σ w = Σ (w / Σ w) v
  Rule.make("division-after-values", {
    law: "(Σⱼ exp(xⱼ) vⱼ) / Σⱼ exp(xⱼ) = Σⱼ softmax(x)ⱼ vⱼ",
    kind: "refines-nan",
    match: ({ n, d }) => div(n, d),
    rewrite: Rule.by(normaliseFirst),
    example: `%0: f32[T, S] = input {name = "x"}
%1: f32[S, 4] = input {name = "v"}
%2: f32[T, S] = exp %0
%3: f32[T] = reduce_sum %2 {axes = [1]}
%4: f32[T, 1] = reshape %3
%5: f32[T, 4] = dot %2, %1 {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
%6: f32[T, 4] = div %5, %4`
  }),
  // exp(x) / (Σ exp(x) + exp(u)) = softmax of x and u, without u
  Rule.make("sum-with-extra-column", {
    law: "exp(x) / (Σ exp(x) + exp(u)) = softmax(x ‖ u) without the last column",
    kind: "refines-nan",
    match: ({ n, d }) => div(n, d),
    rewrite: Rule.by(extraColumn),
    example: `%0: f32[T, S] = input {name = "x"}
%1: f32[T, S] = exp %0
%2: f32[T] = reduce_sum %1 {axes = [1]}
%3: f32[T, 1] = reshape %2
%4: f32[] = constant {values = [1]}
%5: f32[T, 1] = add %3, %4
%6: f32[T, S] = div %1, %5`
  })
]
