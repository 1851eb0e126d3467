import type { DType } from "../../../ir/DType.ts"
import type { OfFamily, OpName } from "../../../ir/ops.ts"
import { UnsupportedByDevice } from "../../errors.ts"
import { call, type Expr, op, splat, splatF32 } from "../assembler/Instruction.ts"
import type { Emitter } from "./Emitter.ts"
import { floorDiv, floorDivUnsigned, type HelperName, modulo } from "./library.ts"
import { widen } from "./storage.ts"
import * as Value from "./Value.ts"

type V = Expr<"v128">

/** Type that arithmetic on a dtype happens in: a bool is a lane of ones or zeros, 16-bit floats are computed in f32. */
export type Compute = "f32" | "i32" | "u32" | "bool"

/** Throws `UnsupportedByDevice` for f64. */
export const compute = (dtype: DType): Compute => {
  switch (dtype) {
    case "f64":
      throw new UnsupportedByDevice({
        message: "the WebAssembly backend has no f64",
        hint: "cast to f32, or run on the reference"
      })
    case "f32":
    case "f16":
    case "bf16":
      return "f32"
    case "i32":
    case "u32":
    case "bool":
      return dtype
  }
}

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
type Binary = Extract<Name, `${"f32x4" | "i32x4" | "v128"}.${string}`>

const one =
  (
    name:
      | "f32x4.neg"
      | "f32x4.abs"
      | "f32x4.sqrt"
      | "f32x4.floor"
      | "f32x4.ceil"
      | "f32x4.nearest"
      | "i32x4.neg"
      | "i32x4.abs"
      | "v128.not"
  ): OnVectors =>
  (_, x) =>
    op(name, x)

type Two = {
  [K in Binary]: Parameters<typeof op<K>> extends [K, V, V] ? K : never
}[Binary]

const two =
  (name: Two): OnVectors =>
  (_, x, y) =>
    op(name, x, y)

const helper =
  (name: HelperName, arity: 1 | 2 = 1): OnVectors =>
  ({ e }, x, y) =>
    arity === 1 ? call(e.unit.helper(name), x) : call(e.unit.helper(name), x, y)

/** One way for floats, one for signed, one for unsigned integers; bools are compared as unsigned ones. */
const byType = (ways: { readonly f32: OnVectors; readonly i32: OnVectors; readonly u32: OnVectors }): Emit =>
  onVectors((context, ...args) => {
    const type = compute(context.from)
    return ways[type === "bool" ? "u32" : type](context, ...args)
  })

/** The same for all integers. */
const floatOr = (f32: OnVectors, integer: OnVectors): Emit => byType({ f32, i32: integer, u32: integer })

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
const quotient = (name: "floor_div" | "mod", f32: OnVectors): Emit =>
  uniformOr(
    ({ e, from }, x, y) => {
      const divide = from === "u32" ? floorDivUnsigned : floorDiv
      return (name === "mod" ? modulo(divide) : divide)(e, x, y)
    },
    byType({ f32, i32: helper(`${name}_i32`, 2), u32: helper(`${name}_u32`, 2) })
  )

const extreme = (name: "min" | "max"): Emit =>
  uniformOr(
    ({ e, from }, x, y) => (from === "i32" ? e[name](x, y) : undefined),
    byType({ f32: two(`f32x4.${name}`), i32: two(`i32x4.${name}_s`), u32: two(`i32x4.${name}_u`) })
  )

/** A lane of ones, true, is the largest unsigned number. */
const ordered = (name: "lt" | "le" | "gt" | "ge"): Emit =>
  byType({ f32: two(`f32x4.${name}`), i32: two(`i32x4.${name}_s`), u32: two(`i32x4.${name}_u`) })

/** (x > 0) - (x < 0), and x itself where it is neither: 0, -0 or NaN. */
const signF32: OnVectors = ({ e }, x) => {
  const [above, below] = [op("f32x4.gt", x, splatF32(0)), op("f32x4.lt", x, splatF32(0))]
  const negative = e.bind(op("v128.bitselect", splatF32(-1), x, below))
  return op("v128.bitselect", splatF32(1), negative, above)
}

const infinite: OnVectors = (_, x) => op("f32x4.eq", op("f32x4.abs", x), splatF32(Infinity))

/** Every op on single elements, on vectors of them. */
export const scalar: { readonly [K in ScalarOp]: Emit } = {
  neg: (context, x) =>
    (x as Value.Value)._tag === "affine"
      ? Value.sub(context.e, Value.integer(0), x as Value.Value)
      : floatOr(one("f32x4.neg"), one("i32x4.neg"))(context, x as Value.Value),
  abs: byType({ f32: one("f32x4.abs"), i32: one("i32x4.abs"), u32: (_, x) => x }),
  sign: byType({
    f32: signF32,
    i32: (_, x) => op("i32x4.max_s", op("i32x4.min_s", x, splat(1)), splat(-1)),
    u32: (_, x) => op("i32x4.min_u", x, splat(1))
  }),
  floor: floatOr(one("f32x4.floor"), (_, x) => x),
  ceil: floatOr(one("f32x4.ceil"), (_, x) => x),
  round: floatOr(one("f32x4.nearest"), (_, x) => x),
  exp: onVectors(helper("exp")),
  exp2: onVectors(helper("exp2")),
  log: onVectors(helper("log")),
  sqrt: onVectors(one("f32x4.sqrt")),
  rsqrt: onVectors((_, x) => op("f32x4.div", splatF32(1), op("f32x4.sqrt", x))),
  sin: onVectors(helper("sin")),
  cos: onVectors(helper("cos")),
  tanh: onVectors(helper("tanh")),
  erf: onVectors(helper("erf")),
  sigmoid: onVectors(helper("sigmoid")),
  not: onVectors(one("v128.not")),
  add: affineOr(Value.add, floatOr(two("f32x4.add"), two("i32x4.add"))),
  sub: affineOr(Value.sub, floatOr(two("f32x4.sub"), two("i32x4.sub"))),
  mul: uniformOr(({ e }, x, y) => e.mul(x, y), floatOr(two("f32x4.mul"), two("i32x4.mul"))),
  div: onVectors(two("f32x4.div")),
  floor_div: quotient("floor_div", (_, x, y) => op("f32x4.floor", op("f32x4.div", x, y))),
  mod: quotient("mod", (_, x, y) =>
    op("f32x4.sub", x, op("f32x4.mul", y, op("f32x4.floor", op("f32x4.div", x, y))))
  ),
  pow: onVectors(helper("pow", 2)),
  min: extreme("min"),
  max: extreme("max"),
  and: onVectors(two("v128.and")),
  or: onVectors(two("v128.or")),
  xor: onVectors(two("v128.xor")),
  cast: (context, x) => cast(context, x as Value.Value),
  eq: floatOr(two("f32x4.eq"), two("i32x4.eq")),
  ne: floatOr(two("f32x4.ne"), two("i32x4.ne")),
  lt: ordered("lt"),
  le: ordered("le"),
  gt: ordered("gt"),
  ge: ordered("ge"),
  is_nan: onVectors((_, x) => op("f32x4.ne", x, x)),
  is_inf: onVectors(infinite),
  select: onVectors((_, condition, then, otherwise) => op("v128.bitselect", then, otherwise, condition))
}

export const isScalarOp = (name: OpName): name is ScalarOp => Object.hasOwn(scalar, name)

/** Conversion between dtypes. Rounding to 16 bits is real: a value cast to f16 and back has lost its digits. */
const cast = ({ e, from, to }: Context, x: Value.Value): Value.Value => {
  const [source, target] = [compute(from), compute(to)]
  if (target === "i32" || target === "u32") {
    if (source === "i32" || source === "u32") return x
    const v = Value.toVector(e, x)
    if (source === "bool") return Value.vector(e.bind(op("v128.and", v, splat(1))))
    const name = target === "i32" ? "i32x4.trunc_sat_f32x4_s" : "i32x4.trunc_sat_f32x4_u"
    return Value.vector(e.bind(op(name, v)))
  }
  const v = Value.toVector(e, x)
  if (target === "bool") {
    if (source === "bool") return x
    return Value.vector(
      e.bind(source === "f32" ? op("f32x4.ne", v, splatF32(0)) : op("i32x4.ne", v, splat(0)))
    )
  }
  return Value.vector(rounded(e, from, to, toFloat(e, source, v)))
}

const toFloat = (e: Emitter, source: Compute, v: V): V => {
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
