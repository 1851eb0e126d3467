import * as Attr from "../Attr.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import { erf as erfScalar } from "./erf.ts"

/** One result element from one element of each operand, after NumPy broadcasting. */

type Domain = Parameters<typeof Infer.elementwise>[1]

const unary = <const Name extends string>(
  name: Name,
  domain: Domain,
  summary: string,
  scalar: (x: number) => number,
  facts: Op.Facts = {}
) =>
  Op.define(name, {
    family: "elementwise",
    summary,
    example: `%0: ${domain === "bool" || domain === "logic" ? "bool" : "f32"}[T, 4] = input {name = "x"}\n%1: ${domain === "bool" || domain === "logic" ? "bool" : "f32"}[T, 4] = ${name} %0`,
    operands: ["x"],
    attrs: Attr.none,
    infer: Infer.elementwise(name, domain),
    scalar,
    facts
  })

const binary = <const Name extends string>(
  name: Name,
  domain: Domain,
  summary: string,
  scalar: (x: number, y: number) => number,
  facts: Op.Facts = {}
) => {
  const dtype = domain === "logic" || domain === "bool" ? "bool" : "f32"
  return Op.define(name, {
    family: "elementwise",
    summary,
    example: `%0: ${dtype}[T, 4] = input {name = "x"}\n%1: ${dtype}[4] = input {name = "y"}\n%2: ${dtype}[T, 4] = ${name} %0, %1`,
    operands: ["x", "y"],
    attrs: Attr.none,
    infer: Infer.elementwise(name, domain),
    scalar,
    facts
  })
}

/** Rounds half to even, as IEEE 754 and WGSL do. */
const roundHalfEven = (x: number): number => {
  const r = Math.round(x)
  return Math.abs(x - Math.trunc(x)) === 0.5 && r % 2 !== 0 ? r - 1 : r
}

export const neg = unary("neg", "number", "Negation.", (x) => -x, { exact: true })
export const abs = unary("abs", "number", "Absolute value.", Math.abs, { exact: true })
export const sign = unary("sign", "number", "-1, 0 or 1.", Math.sign, { exact: true, monotone: true })
export const floor = unary("floor", "float", "Largest integer not above.", Math.floor, {
  exact: true,
  monotone: true
})
export const ceil = unary("ceil", "float", "Smallest integer not below.", Math.ceil, {
  exact: true,
  monotone: true
})
export const round = unary("round", "float", "Nearest integer, halves to even.", roundHalfEven, {
  exact: true,
  monotone: true
})
export const exp = unary("exp", "float", "Natural exponential.", Math.exp, { monotone: true })
export const exp2 = unary("exp2", "float", "Two to the power of x.", (x) => 2 ** x, { monotone: true })
export const log = unary("log", "float", "Natural logarithm.", Math.log, { monotone: true })
export const sqrt = unary("sqrt", "float", "Square root.", Math.sqrt, { monotone: true })
export const rsqrt = unary("rsqrt", "float", "One over the square root.", (x) => 1 / Math.sqrt(x))
export const sin = unary("sin", "float", "Sine of an angle in radians.", Math.sin)
export const cos = unary("cos", "float", "Cosine of an angle in radians.", Math.cos)
export const tanh = unary("tanh", "float", "Hyperbolic tangent.", Math.tanh, { monotone: true })
export const erf = unary("erf", "float", "Error function.", erfScalar, { monotone: true })
export const sigmoid = unary("sigmoid", "float", "1 / (1 + exp(-x)).", (x) => 1 / (1 + Math.exp(-x)), {
  monotone: true
})
export const not = unary("not", "bool", "Logical not.", (x) => (x === 0 ? 1 : 0), { exact: true })

export const add = binary("add", "number", "Sum.", (x, y) => x + y, {
  commutative: true,
  associative: "reassociates",
  monotone: true
})
export const sub = binary("sub", "number", "Difference.", (x, y) => x - y)
export const mul = binary("mul", "number", "Product.", (x, y) => x * y, {
  commutative: true,
  associative: "reassociates"
})
export const div = binary("div", "float", "Quotient.", (x, y) => x / y)
export const floorDiv = binary(
  "floor_div",
  "number",
  "Quotient rounded down; an integer divided by 0 gives 0.",
  (x, y) => Math.floor(x / y)
)
/** Exact, but for the one addition that gives it the sign of y. */
const remainder = (x: number, y: number): number => {
  const rest = x % y
  return rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest
}

export const mod = binary(
  "mod",
  "number",
  "What is left of x after whole multiples of y, with the sign of y; an integer modulo 0 gives 0.",
  remainder
)
export const pow = binary("pow", "float", "x to the power of y.", (x, y) => x ** y)
export const min = binary("min", "number", "The smaller; NaN if either is.", Math.min, {
  commutative: true,
  associative: "exact",
  monotone: true,
  exact: true
})
export const max = binary("max", "number", "The larger; NaN if either is.", Math.max, {
  commutative: true,
  associative: "exact",
  monotone: true,
  exact: true
})
export const and = binary("and", "logic", "Logical and; bitwise on integers.", (x, y) => x & y, {
  commutative: true,
  associative: "exact",
  exact: true
})
export const or = binary("or", "logic", "Logical or; bitwise on integers.", (x, y) => x | y, {
  commutative: true,
  associative: "exact",
  exact: true
})
export const xor = binary("xor", "logic", "Exclusive or; bitwise on integers.", (x, y) => x ^ y, {
  commutative: true,
  associative: "exact",
  exact: true
})

export const cast = Op.define("cast", {
  family: "elementwise",
  summary:
    "To another dtype: floats round to nearest even, floats to integers truncate and saturate, NaN to 0, bool is != 0.",
  example: `%0: f16[T, 4] = input {name = "x"}\n%1: f32[T, 4] = cast %0`,
  operands: ["x"],
  attrs: { dtype: Attr.resultDType },
  infer: ([x], { dtype }) => ({ type: { dtype, shape: x?.shape ?? [] } })
})
