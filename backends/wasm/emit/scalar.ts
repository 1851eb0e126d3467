import type { DType } from "../../../ir/DType.ts"
import type { OfFamily, OpName } from "../../../ir/ops.ts"
import { splatF64, wide } from "../assembler/doubles.ts"
import { call, type Expr, op, splat, splatF32 } from "../assembler/Instruction.ts"
import type { Emitter } from "./Emitter.ts"
import { floorDiv, floorDivUnsigned, type HelperF64, type HelperName, modulo } from "./library.ts"
import { toOdd } from "./mathF64.ts"
import { type Binary, type Comparison, type Real, reals, type Unary, where } from "./real.ts"
import { widen } from "./storage.ts"
import * as Value from "./Value.ts"

type V = Expr<"v128">

/** Type that arithmetic on a dtype happens in: a bool is a lane of ones or zeros, 16-bit floats are computed in f32. */
export type Compute = "f64" | "f32" | "i32" | "u32" | "bool"

export const compute = (dtype: DType): Compute => {
  switch (dtype) {
    case "f32":
    case "f16":
    case "bf16":
      return "f32"
    case "f64":
    case "i32":
    case "u32":
    case "bool":
      return dtype
  }
}

/** Whether elements are floats, which of two sizes. */
export const isReal = (type: Compute): type is "f32" | "f64" => type === "f32" || type === "f64"

/** Ops with a meaning on single elements. */
export type ScalarOp = OfFamily<"elementwise" | "compare">

/** What an op's code depends on besides its arguments. */
export interface Context {
  readonly e: Emitter
  /** dtype of the first operand. */
  readonly from: DType
  /** dtype of the result. */
  readonly to: DType
}

type OnVectors = (context: Context, x: V, y: V, z: V) => V
type Emit = (context: Context, ...args: ReadonlyArray<Value.Value>) => Value.Value

const onVectors =
  (f: OnVectors): Emit =>
  (context, ...args) => {
    const [x, y, z] = args.map((a) => Value.toVector(context.e, a))
    return Value.vector(context.e.bind(f(context, x as V, (y ?? x) as V, (z ?? x) as V)))
  }

type Name = Parameters<typeof op>[0]

const one =
  (name: "i32x4.neg" | "i32x4.abs" | "v128.not"): OnVectors =>
  (_, x) =>
    op(name, x)

type Two = {
  [K in Name]: Parameters<typeof op<K>> extends [K, V, V] ? K : never
}[Name]

const two =
  (name: Two): OnVectors =>
  (_, x, y) =>
    op(name, x, y)

const helper =
  (name: HelperName): OnVectors =>
  ({ e }, x, y) =>
    call(e.unit.helper(name), x, y)

type R = Value.Register

/** What floats of both sizes do. */
type OnFloats = (real: Real, x: R, y: R, e: Emitter) => R

const onFloats =
  (f: OnFloats): Emit =>
  ({ e, from }, ...args) => {
    const real = reals[compute(from) as Real["type"]]
    const [x, y] = args.map((a) => Value.toRegister(e, a)) as [R, R | undefined]
    return Value.ofRegister(e.bind(f(real, x, y ?? x, e)))
  }

/** A function that kernels call. */
const called = (name: HelperF64, arity: 1 | 2 = 1): Emit =>
  onFloats((real, x, y, e) => real.call(e, name, ...(arity === 1 ? [x] : [x, y])))

/** One way for floats, one for signed, one for unsigned integers; bools are compared as unsigned ones. */
const byType = (ways: {
  readonly float: OnFloats
  readonly i32: OnVectors
  readonly u32: OnVectors
}): Emit => {
  const [float, i32, u32] = [onFloats(ways.float), onVectors(ways.i32), onVectors(ways.u32)]
  return (context, ...args) => {
    const type = compute(context.from)
    return (isReal(type) ? float : type === "i32" ? i32 : u32)(context, ...args)
  }
}

/** The same for all integers. */
const floatOr = (float: OnFloats, integer: OnVectors): Emit => byType({ float, i32: integer, u32: integer })

/** The instruction of that name. */
const float =
  (name: keyof Real & Unary): OnFloats =>
  (real, x) =>
    real[name](x)

const floats =
  (name: keyof Real & (Binary | Comparison)): OnFloats =>
  (real, x, y) =>
    real[name](x, y)

/** Integers whose lanes are regular stay so. */
const affineOr =
  (index: (e: Emitter, x: Value.Value, y: Value.Value) => Value.Value, otherwise: Emit): Emit =>
  (context, ...args) => {
    const [x, y] = args as [Value.Value, Value.Value]
    return x._tag === "affine" && y._tag === "affine" ? index(context.e, x, y) : otherwise(context, ...args)
  }

/** Integers that all lanes share are computed once. */
const uniformOr =
  (
    scalar: (context: Context, x: Expr<"i32">, y: Expr<"i32">) => Expr<"i32"> | undefined,
    otherwise: Emit
  ): Emit =>
  (context, ...args) => {
    const [x, y] = args as [Value.Value, Value.Value]
    const both = Value.isUniform(x) && Value.isUniform(y)
    const value = both ? scalar(context, x.base, y.base) : undefined
    return value === undefined ? otherwise(context, ...args) : Value.uniform(value)
  }

/** Of the types that divide rounding down. */
const quotient = (name: "floor_div" | "mod"): Emit =>
  uniformOr(
    ({ e, from }, x, y) => {
      const divide = from === "u32" ? floorDivUnsigned : floorDiv
      return (name === "mod" ? modulo(divide) : divide)(e, x, y)
    },
    byType({
      float: (real, x, y, e) => real.call(e, name, x, y),
      i32: helper(`${name}_i32`),
      u32: helper(`${name}_u32`)
    })
  )

const extreme = (name: "min" | "max"): Emit =>
  uniformOr(
    ({ e, from }, x, y) => (from === "i32" ? e[name](x, y) : undefined),
    byType({ float: floats(name), i32: two(`i32x4.${name}_s`), u32: two(`i32x4.${name}_u`) })
  )

/** A lane of ones, true, is the largest unsigned number. */
const ordered = (name: "lt" | "le" | "gt" | "ge"): Emit =>
  byType({ float: floats(name), i32: two(`i32x4.${name}_s`), u32: two(`i32x4.${name}_u`) })

/** (x > 0) - (x < 0), and x itself where it is neither: 0, -0 or NaN. */
const signOf: OnFloats = (real, x, _, e) => {
  const [above, below] = [real.gt(x, real.splat(0)), real.lt(x, real.splat(0))]
  return where(above, real.splat(1), e.bind(where(below, real.splat(-1), x)))
}

/** Every op on single elements, on vectors of them. */
export const scalar: { readonly [K in ScalarOp]: Emit } = {
  neg: (context, x) =>
    (x as Value.Value)._tag === "affine"
      ? Value.sub(context.e, Value.integer(0), x as Value.Value)
      : floatOr(float("neg"), one("i32x4.neg"))(context, x as Value.Value),
  abs: byType({ float: float("abs"), i32: one("i32x4.abs"), u32: (_, x) => x }),
  sign: byType({
    float: signOf,
    i32: (_, x) => op("i32x4.max_s", op("i32x4.min_s", x, splat(1)), splat(-1)),
    u32: (_, x) => op("i32x4.min_u", x, splat(1))
  }),
  floor: floatOr(float("floor"), (_, x) => x),
  ceil: floatOr(float("ceil"), (_, x) => x),
  round: floatOr(float("nearest"), (_, x) => x),
  exp: called("exp"),
  exp2: called("exp2"),
  log: called("log"),
  sqrt: onFloats(float("sqrt")),
  rsqrt: onFloats((real, x) => real.div(real.splat(1), real.sqrt(x))),
  sin: called("sin"),
  cos: called("cos"),
  tanh: called("tanh"),
  erf: called("erf"),
  sigmoid: called("sigmoid"),
  not: onVectors(one("v128.not")),
  add: affineOr(Value.add, floatOr(floats("add"), two("i32x4.add"))),
  sub: affineOr(Value.sub, floatOr(floats("sub"), two("i32x4.sub"))),
  mul: uniformOr(({ e }, x, y) => e.mul(x, y), floatOr(floats("mul"), two("i32x4.mul"))),
  div: onFloats(floats("div")),
  floor_div: quotient("floor_div"),
  mod: quotient("mod"),
  pow: called("pow", 2),
  min: extreme("min"),
  max: extreme("max"),
  and: onVectors(two("v128.and")),
  or: onVectors(two("v128.or")),
  xor: onVectors(two("v128.xor")),
  cast: (context, x) => cast(context, x as Value.Value),
  eq: floatOr(floats("eq"), two("i32x4.eq")),
  ne: floatOr(floats("ne"), two("i32x4.ne")),
  lt: ordered("lt"),
  le: ordered("le"),
  gt: ordered("gt"),
  ge: ordered("ge"),
  is_nan: onFloats((real, x) => real.ne(x, x)),
  is_inf: onFloats((real, x) => real.eq(real.abs(x), real.splat(Infinity))),
  select: ({ e }, ...args) => {
    const [condition, then, otherwise] = args as [Value.Value, Value.Value, Value.Value]
    const [a, b] = [Value.toRegister(e, then), Value.toRegister(e, otherwise)]
    return Value.ofRegister(e.bind(where(Value.toVector(e, condition), a, b)))
  }
}

export const isScalarOp = (name: OpName): name is ScalarOp => Object.hasOwn(scalar, name)

/** Conversion between dtypes. Rounding to 16 bits is real: a value cast to f16 and back has lost its digits. */
const cast = ({ e, from, to }: Context, x: Value.Value): Value.Value => {
  const [source, target] = [compute(from), compute(to)]
  if (target === "i32" || target === "u32") {
    if (source === "i32" || source === "u32") return x
    const sign = target === "i32" ? "s" : "u"
    if (source === "f64")
      return Value.vector(e.bind(wide(`i32x4.trunc_sat_f64x4_${sign}`, Value.toDoubles(x))))
    const v = Value.toVector(e, x)
    if (source === "bool") return Value.vector(e.bind(op("v128.and", v, splat(1))))
    return Value.vector(e.bind(op(`i32x4.trunc_sat_f32x4_${sign}`, v)))
  }
  if (target === "bool") {
    if (source === "bool") return x
    if (isReal(source)) return onFloats((real, v) => real.ne(v, real.splat(0)))({ e, from, to }, x)
    return Value.vector(e.bind(op("i32x4.ne", Value.toVector(e, x), splat(0))))
  }
  if (target === "f64") return Value.doubles(toDouble(e, source, x))
  if (source === "f64") {
    const v = Value.toDoubles(x)
    const single = to === "f32" ? e.bind(wide("f32x4.demote_f64x4", v)) : toOdd(e, v)
    return Value.vector(rounded(e, from, to, single))
  }
  return Value.vector(rounded(e, from, to, toFloat(e, source, Value.toVector(e, x))))
}

const toDouble = (e: Emitter, source: Compute, x: Value.Value): Expr<"v256"> => {
  switch (source) {
    case "f64":
      return Value.toDoubles(x)
    case "f32":
      return e.bind(wide("f64x4.promote_f32x4", Value.toVector(e, x)))
    case "i32":
      return e.bind(wide("f64x4.convert_i32x4_s", Value.toVector(e, x)))
    case "u32":
      return e.bind(wide("f64x4.convert_i32x4_u", Value.toVector(e, x)))
    case "bool":
      return e.bind(wide("f64x4.select", splatF64(1), splatF64(0), Value.toVector(e, x)))
  }
}

const toFloat = (e: Emitter, source: Exclude<Compute, "f64">, v: V): V => {
  switch (source) {
    case "f32":
      return v
    case "i32":
      return e.bind(op("f32x4.convert_i32x4_s", v))
    case "u32":
      return e.bind(op("f32x4.convert_i32x4_u", v))
    case "bool":
      return e.bind(op("v128.and", v, splatF32(1)))
  }
}

/** A float rounded to the digits of a dtype. */
const rounded = (e: Emitter, from: DType, to: DType, v: V): V =>
  from === to || from === "bool" || (to !== "f16" && to !== "bf16")
    ? v
    : widen(e, to, e.bind(call(e.unit.helper(`${to}_bits`), v)))
