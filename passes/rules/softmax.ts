import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type * as Node from "../../ir/Node.ts"
import * as rows from "../fusion/rows.ts"
import * as views from "../fusion/views.ts"
import { named, number, ops, uniform } from "../Pattern.ts"
import * as Rule from "../Rule.ts"

const { div, exp, is_nan, log, reduce_sum, select, softmax, sub } = ops

type Build = Rule.Match["build"]

const scalar = (build: Build, value: number, dtype: DType.DType): Node.Node =>
  build("constant", [], { values: [value], type: { dtype, shape: [] } })

const x = `%0: f32[T, S] = input {name = "x"}`

/** y with weight = exp(y): -inf where the weight is put to 0. Undefined for what no exponential makes. */
export const logarithm = (build: Build, weight: Node.Node, depth = 0): Node.Node | undefined => {
  const [a, b, c] = weight.operands
  if (a === undefined || depth > 8) return undefined
  const minusInfinity = scalar(build, -Infinity, weight.type.dtype)
  if (weight.op === "exp") return a
  if (weight.op === "exp2") return build("mul", [a, scalar(build, Math.LN2, a.type.dtype)], {})
  if (weight.op === "cast" && DType.isFloat(a.type.dtype)) {
    const inner = logarithm(build, a, depth + 1)
    return inner && build("cast", [inner], { dtype: weight.type.dtype })
  }
  if (weight.op === "select" && b !== undefined && c !== undefined) {
    const [kept, other] = uniform(c) === 0 ? [b, c] : [c, b]
    if (uniform(other) !== 0) return undefined
    const inner = logarithm(build, kept, depth + 1)
    return inner && build("select", kept === b ? [a, inner, minusInfinity] : [a, minusInfinity, inner], {})
  }
  if (weight.op === "mul" && b !== undefined) {
    const [mask, kept] = isIndicator(a) ? [a, b] : [b, a]
    if (!isIndicator(mask)) return undefined
    const inner = logarithm(build, kept, depth + 1)
    return inner && build("select", [mask.operands[0] as Node.Node, inner, minusInfinity], {})
  }
  return undefined
}

/** 0 or 1, made from a truth value. */
const isIndicator = (node: Node.Node): boolean =>
  node.op === "cast" && node.operands[0]?.type.dtype === "bool"

/** The scores without a shift of whole rows: softmax(x - m) = softmax(x). */
export const unshifted = (build: Build, y: Node.Node, axis: number): Node.Node => {
  const [a, b, c] = y.operands
  const same = (node: Node.Node): boolean =>
    node.type.shape.length === y.type.shape.length &&
    node.type.shape.every((d, i) => Dim.equals(d, y.type.shape[i] as Dim.Dim))
  if (a === undefined || b === undefined) {
    if (y.op !== "cast" || a === undefined || !DType.isFloat(a.type.dtype)) return y
    const inner = unshifted(build, a, axis)
    return inner === a ? y : build("cast", [inner], { dtype: y.type.dtype })
  }
  if ((y.op === "sub" || y.op === "add") && same(a) && rows.isConstantAlong(b, y, axis)) return a
  if (y.op === "add" && same(b) && rows.isConstantAlong(a, y, axis)) return b
  if (y.op === "mul" && uniform(b) !== undefined) {
    const inner = unshifted(build, a, axis)
    return inner === a ? y : build("mul", [inner, b], {})
  }
  if (y.op === "select" && c !== undefined && (uniform(b) === -Infinity || uniform(c) === -Infinity)) {
    const kept = uniform(c) === -Infinity ? b : c
    const inner = unshifted(build, kept, axis)
    return inner === kept ? y : build("select", kept === b ? [a, inner, c] : [a, b, inner], {})
  }
  return y
}

/** Whether two values are one, float conversions aside. */
const sameValue = (a: Node.Node, b: Node.Node): boolean => bare(a) === bare(b)

const bare = (node: Node.Node): Node.Node => {
  let own = node
  for (
    let next = own.operands[0];
    own.op === "cast" && next !== undefined && DType.isFloat(next.type.dtype);
    next = own.operands[0]
  )
    own = next
  return own
}

/** The axis of a sum over one axis of `weight`. */
const summedAxis = (sum: Node.Node | undefined, weight: Node.Node): number | undefined =>
  sum?.op === "reduce_sum" && sum.attrs.axes.length === 1 && sameValue(sum.operands[0] as Node.Node, weight)
    ? sum.attrs.axes[0]
    : undefined

/** A denominator that is never 0 where the sum is not: select(sum = 0, 1, sum), and max(sum, c) of sums that are at least c. */
const unguarded = (denominator: Node.Node): Node.Node => {
  const [a, b, c] = denominator.operands
  if (
    denominator.op === "select" &&
    a?.op === "eq" &&
    c !== undefined &&
    a.operands[0] === c &&
    uniform(a.operands[1] as Node.Node) === 0
  )
    return c
  return b !== undefined && denominator.op === "max" && (uniform(b) ?? 1) <= 2 ** -60
    ? (denominator.operands[0] as Node.Node)
    : denominator
}

/** The axis along which `denominator` is the sum of `weight`, seen as a value of each row. */
const normalisedAxis = (weight: Node.Node, denominator: Node.Node): number | undefined => {
  for (let axis = weight.type.shape.length - 1; axis >= 0; axis--) {
    const row = rows.rowOf(denominator, weight, axis)
    const inner = row && unguarded(row)
    const found =
      inner === row
        ? row
        : inner &&
          rows.resolve(
            inner,
            inner.type.shape.length < weight.type.shape.length
              ? rows.withoutAxis(rows.everywhere(weight), axis)
              : []
          ).node
    if (summedAxis(found, weight) === axis) return axis
  }
  const guarded = unguarded(denominator)
  return guarded === denominator ? undefined : normalisedAxis(weight, guarded)
}

const emptyRow = (condition: Node.Node, scores: Node.Node, axis: number): boolean | undefined => {
  const { node } = rows.resolve(condition, views.broadcasted(rows.everywhere(scores), condition.type.shape))
  const [a, b] = node.operands
  if (a === undefined) return undefined
  const isMinusInfinity = (n: Node.Node | undefined): boolean => n !== undefined && uniform(n) === -Infinity
  const overScores = (n: Node.Node): boolean =>
    isMinusInfinity(n.operands[1]) && sameValue(n.operands[0] as Node.Node, scores)
  if (node.op === "not") {
    const inner = emptyRow(a, scores, axis)
    return inner === undefined ? undefined : !inner
  }
  // every score is -inf
  if (node.op === "reduce_min" && a.op === "eq" && node.attrs.axes.join() === `${axis}` && overScores(a))
    return true
  if (
    node.op === "reduce_max" &&
    (a.op === "ne" || a.op === "gt") &&
    node.attrs.axes.join() === `${axis}` &&
    overScores(a)
  )
    return false
  // the greatest score is -inf
  if ((node.op !== "eq" && node.op !== "ne" && node.op !== "gt") || b === undefined || !isMinusInfinity(b))
    return undefined
  const max = rows.resolve(a, rows.everywhere(a)).node
  const isMax =
    max.op === "reduce_max" &&
    max.attrs.axes.join() === `${axis}` &&
    sameValue(max.operands[0] as Node.Node, scores)
  return isMax ? node.op === "eq" : undefined
}

/** The logarithm of the sum of exponentials of `scores` along an axis, as the value of a row; m + lse(x - m) counts. */
const logSumAxis = (value: Node.Node, scores: Node.Node): number | undefined => {
  if (!rows.stretches(value, scores)) return undefined
  const at = rows.everywhere(scores)
  const found = rows.resolve(value, views.broadcasted(at, value.type.shape))
  const isLogSum = (
    p: views.Position,
    of: Node.Node
  ): p is views.Position & { readonly node: Node.NodeOf<"logsumexp"> } =>
    p.node.op === "logsumexp" &&
    sameValue(p.node.operands[0] as Node.Node, of) &&
    rows.sameAt(p.at, rows.withoutAxis(at, p.node.attrs.axis))
  if (isLogSum(found, scores)) return found.node.attrs.axis
  const [a, b] = found.node.operands
  if (found.node.op !== "add" || a === undefined || b === undefined) return undefined
  const behind = (x: Node.Node): views.Position => rows.resolve(x, views.broadcasted(found.at, x.type.shape))
  for (const [sum, shift] of [
    [behind(a), behind(b)],
    [behind(b), behind(a)]
  ] as const) {
    const shifted = sum.node.op === "logsumexp" ? bare(sum.node.operands[0] as Node.Node) : undefined
    const [from, by] = shifted?.op === "sub" ? shifted.operands : []
    if (shifted === undefined || from === undefined || by === undefined) continue
    if (!isLogSum(sum, shifted) || !sameValue(from, scores) || !rows.stretches(by, scores)) continue
    const m = rows.resolve(by, views.broadcasted(at, by.type.shape))
    if (m.node === shift.node && rows.sameAt(m.at, shift.at)) return sum.node.attrs.axis
  }
  return undefined
}

/** Whether a value is the greatest score of its row, or a guard around it. */
const isRowMax = (value: Node.Node, scores: Node.Node, axis: number): boolean => {
  const row = rows.rowOf(value, scores, axis)
  return (
    row?.op === "reduce_max" &&
    row.attrs.axes.join() === `${axis}` &&
    sameValue(row.operands[0] as Node.Node, scores)
  )
}

/** Softmax in the ways people write it: one op. */
export const softmaxes: ReadonlyArray<Rule.Rule> = [
  // exp(x) / Σ exp(x) = softmax(x), and softmax(x - m) = softmax(x)
  Rule.make("exp-over-sum", {
    law: "exp(x - m) / Σ exp(x - m) = softmax(x), weights of 0 being scores of -∞",
    kind: "refines-nan",
    match: ({ n, d }) => div(n, d),
    when: (m) => normalisedAxis(m.get("n"), m.get("d")) !== undefined,
    rewrite: Rule.by((m) => {
      const weight = m.get("n")
      const axis = normalisedAxis(weight, m.get("d")) as number
      const y = logarithm(m.build, weight)
      return y && m.build("softmax", [unshifted(m.build, y, axis)], { axis })
    }),
    example: `${x}
%1: f32[T] = reduce_max %0 {axes = [1]}
%2: f32[T, 1] = reshape %1
%3: f32[T, S] = sub %0, %2
%4: f32[T, S] = exp %3
%5: f32[T] = reduce_sum %4 {axes = [1]}
%6: f32[T, 1] = reshape %5
%7: f32[T, S] = div %4, %6`
  }),
  // log Σ exp(x) = logsumexp(x)
  Rule.make("log-of-sum", {
    law: "log Σ exp(x) = logsumexp(x)",
    kind: "refines-nan",
    match: ({ y }) => log(named("sum", reduce_sum(exp(y)))),
    when: (m) => m.as("sum", "reduce_sum").attrs.axes.length === 1,
    rewrite: Rule.by((m) =>
      m.build("logsumexp", [m.get("y")], { axis: m.as("sum", "reduce_sum").attrs.axes[0] as number })
    ),
    example: `${x}\n%1: f32[T, S] = exp %0\n%2: f32[T] = reduce_sum %1 {axes = [1]}\n%3: f32[T] = log %2`
  }),
  // log(reshape(x)) = reshape(log(x))
  Rule.make("log-behind-reshape", {
    law: "log(reshape(Σ x)) = reshape(log(Σ x))",
    kind: "exact",
    match: ({ y }) => log(ops.reshape(named("sum", reduce_sum(y)))),
    rewrite: Rule.by((m) =>
      m.build("reshape", [m.build("log", [m.get("sum")], {})], { shape: m.get("root").type.shape })
    ),
    example: `${x}\n%1: f32[T] = reduce_sum %0 {axes = [1]}\n%2: f32[T, 1] = reshape %1\n%3: f32[T, 1] = log %2`
  }),
  // exp(x - logsumexp(x)) = softmax(x)
  Rule.make("exp-minus-logsumexp", {
    law: "exp(x - logsumexp(x)) = softmax(x)",
    kind: "refines-nan",
    match: ({ y, s }) => exp(sub(y, s)),
    when: (m) => logSumAxis(m.get("s"), m.get("y")) !== undefined,
    rewrite: Rule.by((m) => {
      const axis = logSumAxis(m.get("s"), m.get("y")) as number
      return m.build("softmax", [unshifted(m.build, m.get("y"), axis)], { axis })
    }),
    example: `${x}\n%1: f32[T] = logsumexp %0 {axis = 1}\n%2: f32[T, 1] = reshape %1\n%3: f32[T, S] = sub %0, %2\n%4: f32[T, S] = exp %3`
  }),
  // softmax(x - max x) = softmax(x)
  Rule.make("softmax-of-shifted", {
    law: "softmax(x - max x) = softmax(x)",
    kind: "refines-nan",
    match: ({ y, s }) => named("softmax", softmax(sub(y, s))),
    when: (m) => isRowMax(m.get("s"), m.get("y"), m.as("softmax", "softmax").attrs.axis),
    rewrite: Rule.by((m) =>
      m.build("softmax", [m.get("y")], { axis: m.as("softmax", "softmax").attrs.axis })
    ),
    example: `${x}\n%1: f32[T] = reduce_max %0 {axes = [1]}\n%2: f32[T, 1] = reshape %1\n%3: f32[T, S] = sub %0, %2\n%4: f32[T, S] = softmax %3 {axis = 1}`
  }),
  // a softmax is NaN nowhere
  Rule.make("softmax-is-a-number", {
    law: "select(isnan p, 0, p) = p for p = softmax(x)",
    kind: "refines-nan",
    match: ({ x }) => select(is_nan(named("p", softmax(x))), number(0), softmax(x)),
    rewrite: Rule.by((m) => m.get("p")),
    example: `${x}\n%1: f32[T, S] = softmax %0 {axis = 1}\n%2: bool[T, S] = is_nan %1\n%3: f32[] = constant {values = [0]}\n%4: f32[T, S] = select %2, %3, %1`
  }),
  // a row without keys is 0 already
  Rule.make("safe-softmax", {
    law: "select(all x = -∞, 0, softmax(x)) = softmax(x)",
    kind: "exact",
    match: ({ c, x }) => select(named("c", c), number(0), named("p", softmax(x))),
    when: (m) => emptyRow(m.get("c"), m.get("x"), m.as("p", "softmax").attrs.axis) === true,
    rewrite: Rule.by((m) => m.get("p")),
    example: `${x}
%1: f32[] = constant {values = [-inf]}
%2: bool[T, S] = eq %0, %1
%3: bool[T] = reduce_min %2 {axes = [1]}
%4: bool[T, 1] = reshape %3
%5: f32[] = constant {values = [0]}
%6: f32[T, S] = softmax %0 {axis = 1}
%7: f32[T, S] = select %4, %5, %6`
  }),
  // … written the other way round
  Rule.make("safe-softmax-kept", {
    law: "select(some x > -∞, softmax(x), 0) = softmax(x)",
    kind: "exact",
    match: ({ c, x }) => select(c, named("p", softmax(x)), number(0)),
    when: (m) => emptyRow(m.get("c"), m.get("x"), m.as("p", "softmax").attrs.axis) === false,
    rewrite: Rule.by((m) => m.get("p")),
    example: `${x}
%1: f32[T] = reduce_max %0 {axes = [1]}
%2: f32[] = constant {values = [-inf]}
%3: bool[T] = gt %1, %2
%4: bool[T, 1] = reshape %3
%5: f32[T, S] = softmax %0 {axis = 1}
%6: f32[] = constant {values = [0]}
%7: f32[T, S] = select %4, %5, %6`
  })
]
