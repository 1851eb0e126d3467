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

/** The value in another float type; itself where it has that type. */
export const converted = (build: Build, value: Node.Node, dtype: DType.DType): Node.Node =>
  value.type.dtype === dtype ? value : build("cast", [value], { dtype })

const isWidening = (from: DType.DType, to: DType.DType): boolean => DType.promote(from, to) === to

/**
 * y with weight = exp(y): -inf where the weight is put to 0. Undefined for what no exponential makes. Where the weight was rounded to a
 * narrower type after the exponential, y keeps the wider one: rounding y instead would change the weight by far more.
 */
export const logarithm = (build: Build, weight: Node.Node, depth = 0): Node.Node | undefined => {
  const [a, b, c] = weight.operands
  if (a === undefined || depth > 8) return undefined
  const only = (condition: Node.Node, kept: Node.Node, where: boolean): Node.Node | undefined => {
    const inner = logarithm(build, kept, depth + 1)
    if (inner === undefined) return undefined
    const minusInfinity = scalar(build, -Infinity, inner.type.dtype)
    return build("select", where ? [condition, inner, minusInfinity] : [condition, minusInfinity, inner], {})
  }
  if (weight.op === "exp") return a
  if (weight.op === "exp2") return inBaseE(build, a)
  if (weight.op === "cast" && DType.isFloat(a.type.dtype)) {
    const inner = logarithm(build, a, depth + 1)
    return inner && isWidening(inner.type.dtype, weight.type.dtype)
      ? converted(build, inner, weight.type.dtype)
      : inner
  }
  if (weight.op === "select" && b !== undefined && c !== undefined) {
    const [kept, other] = uniform(c) === 0 ? [b, c] : [c, b]
    return uniform(other) === 0 ? only(a, kept, kept === b) : undefined
  }
  if (weight.op === "mul" && b !== undefined) {
    const [mask, kept] = isIndicator(a) ? [a, b] : [b, a]
    return isIndicator(mask) ? only(mask.operands[0] as Node.Node, kept, true) : undefined
  }
  return undefined
}

/** x · ln 2; the scores themselves where they were brought to base 2, as far as float32 tells. */
const inBaseE = (build: Build, x: Node.Node): Node.Node => {
  const [y, factor] = x.op === "mul" ? x.operands : []
  const base = factor === undefined ? undefined : uniform(factor)
  return y !== undefined && base !== undefined && Math.abs(base * Math.LN2 - 1) < 2 ** -23
    ? y
    : build("mul", [x, scalar(build, Math.LN2, x.type.dtype)], {})
}

/** 0 or 1, made from a truth value. */
const isIndicator = (node: Node.Node): boolean =>
  node.op === "cast" && node.operands[0]?.type.dtype === "bool"

/**
 * The scores without a shift of whole rows: softmax(x - m) = softmax(x), for the shifts that `mayDrop` allows. In a wider type where
 * the shifted scores were rounded to a narrower one, since the shift is what made them fit.
 */
export const unshifted = (
  build: Build,
  y: Node.Node,
  axis: number,
  mayDrop: (shift: Node.Node, scores: Node.Node) => boolean = () => true
): Node.Node => {
  const [a, b, c] = y.operands
  const same = (node: Node.Node): boolean =>
    node.type.shape.length === y.type.shape.length &&
    node.type.shape.every((d, i) => Dim.equals(d, y.type.shape[i] as Dim.Dim))
  const behind = (node: Node.Node): Node.Node => unshifted(build, node, axis, mayDrop)
  if (a === undefined || b === undefined) {
    if (y.op !== "cast" || a === undefined || !DType.isFloat(a.type.dtype)) return y
    const inner = behind(a)
    if (inner === a) return y
    return isWidening(inner.type.dtype, y.type.dtype) ? converted(build, inner, y.type.dtype) : inner
  }
  if (y.op === "sub" || y.op === "add") {
    // What is added may be a mask, and so may all that rows of one key hold: no shifts unless somebody took them away.
    const isShift = (by: Node.Node, x: Node.Node): boolean =>
      by.op === "neg" ||
      Number.isFinite(uniform(by)) ||
      (y.op === "sub" && (isRowMax(by, x, axis) || !Dim.isOne(y.type.shape[axis] as Dim.Dim)))
    const shifts = (by: Node.Node, x: Node.Node): boolean =>
      same(x) && isShift(by, x) && rows.isConstantAlong(by, y, axis) && mayDrop(by, x)
    if (shifts(b, a)) return a
    return y.op === "add" && shifts(a, b) ? b : y
  }
  if (y.op === "mul" && uniform(b) !== undefined) {
    const inner = behind(a)
    return inner === a ? y : build("mul", [inner, converted(build, b, inner.type.dtype)], {})
  }
  if (y.op === "select" && c !== undefined && (uniform(b) === -Infinity || uniform(c) === -Infinity)) {
    const [kept, fill] = uniform(c) === -Infinity ? [b, c] : [c, b]
    const inner = behind(kept)
    if (inner === kept) return y
    const other = converted(build, fill, inner.type.dtype)
    return build("select", kept === b ? [a, inner, other] : [a, other, inner], {})
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

/** How a sum was kept from being 0: not at all, by another number in the place of 0, or by a least value. */
type Guard = "none" | "zero" | "least"

/** The sum in a denominator that is never 0: select(sum = 0, 1, sum), or max(sum, c). */
const unguarded = (node: Node.Node): { readonly sum: Node.Node; readonly guard: Guard } | undefined => {
  const [a, b, c] = node.operands
  if (
    node.op === "select" &&
    a?.op === "eq" &&
    c !== undefined &&
    a.operands[0] === c &&
    uniform(a.operands[1] as Node.Node) === 0
  )
    return { sum: c, guard: "zero" }
  return a !== undefined && b !== undefined && node.op === "max" && (uniform(b) ?? 2) <= 1
    ? { sum: a, guard: "least" }
    : undefined
}

/** The axis along which `denominator` is the sum of `weight`, seen as a value of each row, and how it was guarded. */
const normalisation = (
  weight: Node.Node,
  denominator: Node.Node
): { readonly axis: number; readonly guard: Guard } | undefined => {
  if (!rows.stretches(denominator, weight)) return undefined
  const at = rows.everywhere(weight)
  let guard: Guard = "none"
  let p = rows.resolve(denominator, views.broadcasted(at, denominator.type.shape))
  for (let inner = unguarded(p.node); inner !== undefined; inner = unguarded(p.node)) {
    if (guard !== "none") return undefined
    guard = inner.guard
    p = rows.resolve(inner.sum, views.broadcasted(p.at, inner.sum.type.shape))
  }
  if (p.node.op !== "reduce_sum" || p.node.attrs.axes.length !== 1) return undefined
  const axis = p.node.attrs.axes[0] as number
  if (!sameValue(p.node.operands[0] as Node.Node, weight) || !rows.sameAt(p.at, rows.withoutAxis(at, axis)))
    return undefined
  return guard === "least" && !sumsToOneOrMore(weight, axis) ? undefined : { axis, guard }
}

/**
 * Whether a value is the greatest score of its row; a number may stand in its place where that is infinite.
 */
const isRowMax = (value: Node.Node, scores: Node.Node, axis: number): boolean => {
  if (!rows.stretches(value, scores)) return false
  const at = rows.everywhere(scores)
  const isMax = ({ node, at: p }: views.Position): boolean => {
    if (node.op === "reduce_max")
      return (
        node.attrs.axes.join() === `${axis}` &&
        sameValue(node.operands[0] as Node.Node, scores) &&
        rows.sameAt(p, rows.withoutAxis(at, axis))
      )
    const [a, b, c] = node.operands
    if (node.op !== "select" || a === undefined || b === undefined || c === undefined) return false
    const [x, limit] = a.operands
    const infinite =
      a.op === "is_inf" || (a.op === "eq" && limit !== undefined && uniform(limit) === -Infinity)
    return infinite && x === c && isMax(rows.resolve(c, views.broadcasted(p, c.type.shape)))
  }
  return isMax(rows.resolve(value, views.broadcasted(at, value.type.shape)))
}

/** Whether weights that have a `logarithm` are 1 at the greatest score of each row that has any: exp(x - max x), kept where x is. */
const sumsToOneOrMore = (weight: Node.Node, axis: number, keep?: Node.Node): boolean => {
  const [a, b] = weight.operands
  if (a === undefined) return false
  if (weight.op === "cast" && DType.isFloat(a.type.dtype)) return sumsToOneOrMore(a, axis, keep)
  if (keep === undefined && weight.op === "select" && b !== undefined) return sumsToOneOrMore(b, axis, a)
  if (keep === undefined && weight.op === "mul" && b !== undefined) {
    const [mask, kept] = isIndicator(a) ? [a, b] : [b, a]
    return sumsToOneOrMore(kept, axis, mask.operands[0])
  }
  if (weight.op !== "exp" && weight.op !== "exp2") return false
  let y = bare(a)
  while (y.op === "mul" && Number.isFinite(uniform(y.operands[1] as Node.Node)))
    y = bare(y.operands[0] as Node.Node)
  const [x, m] = y.op === "sub" ? y.operands : []
  if (x === undefined || m === undefined || !isRowMax(m, x, axis)) return false
  return (
    keep === undefined ||
    (x.op === "select" && x.operands[0] === keep && uniform(x.operands[2] as Node.Node) === -Infinity)
  )
}

/** What a condition says of rows of scores: true where it holds for the empty ones, false where for the others. */
const emptyRow = (condition: Node.Node, scores: Node.Node, axis: number): boolean | undefined => {
  if (!rows.stretches(condition, scores)) return undefined
  const at = rows.everywhere(scores)
  const row = rows.withoutAxis(at, axis)
  const isMinusInfinity = (n: Node.Node | undefined): boolean => n !== undefined && uniform(n) === -Infinity
  const overScores = (n: Node.Node): boolean =>
    isMinusInfinity(n.operands[1]) && sameValue(n.operands[0] as Node.Node, scores)
  const says = ({ node, at: p }: views.Position): boolean | undefined => {
    const [a, b] = node.operands
    if (a === undefined) return undefined
    const behind = (x: Node.Node): views.Position => rows.resolve(x, views.broadcasted(p, x.type.shape))
    if (node.op === "not") {
      const inner = says(behind(a))
      return inner === undefined ? undefined : !inner
    }
    const reduces = (node.op === "reduce_min" || node.op === "reduce_max") && rows.sameAt(p, row)
    // every score is -inf
    if (reduces && node.op === "reduce_min" && node.attrs.axes.join() === `${axis}`)
      return a.op === "eq" && overScores(a) ? true : undefined
    if (reduces && node.op === "reduce_max" && node.attrs.axes.join() === `${axis}`)
      return (a.op === "ne" || a.op === "gt") && overScores(a) ? false : undefined
    // the greatest score is -inf
    if ((node.op !== "eq" && node.op !== "ne" && node.op !== "gt") || !isMinusInfinity(b)) return undefined
    const max = behind(a)
    const isMax =
      max.node.op === "reduce_max" &&
      max.node.attrs.axes.join() === `${axis}` &&
      sameValue(max.node.operands[0] as Node.Node, scores) &&
      rows.sameAt(max.at, row)
    return isMax ? node.op === "eq" : undefined
  }
  return says(rows.resolve(condition, views.broadcasted(at, condition.type.shape)))
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
    if (!rows.isConstantAlong(by, scores, sum.node.attrs.axis)) continue
    const m = rows.resolve(by, views.broadcasted(at, by.type.shape))
    if (m.node === shift.node && rows.sameAt(m.at, shift.at)) return sum.node.attrs.axis
  }
  return undefined
}

/** Softmax in the ways people write it: one op. */
export const softmaxes: ReadonlyArray<Rule.Rule> = [
  // exp(x) / Σ exp(x) = softmax(x), and softmax(x - m) = softmax(x)
  Rule.make("exp-over-sum", {
    law: "exp(x - m) / Σ exp(x - m) = softmax(x), weights of 0 being scores of -∞",
    kind: "refines-nan",
    match: ({ n, d }) => div(n, d),
    rewrite: Rule.by((m) => {
      const weight = m.get("n")
      const found = normalisation(weight, m.get("d"))
      const y = found && logarithm(m.build, weight)
      if (found === undefined || y === undefined) return undefined
      const { axis, guard } = found
      // A shift of -inf empties a row. Without a guard that row is NaN; with one it is 0, and the shift must stay.
      const mayDrop = guard === "none" ? undefined : (by: Node.Node, x: Node.Node) => isRowMax(by, x, axis)
      const p = m.build("softmax", [unshifted(m.build, y, axis, mayDrop)], { axis })
      return converted(m.build, p, weight.type.dtype)
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
      const p = m.build("softmax", [unshifted(m.build, m.get("y"), axis)], { axis })
      return converted(m.build, p, m.get("root").type.dtype)
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
    kind: "refines-nan",
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
    kind: "refines-nan",
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
