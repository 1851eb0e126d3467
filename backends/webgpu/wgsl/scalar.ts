import { type DType, maxFinite } from "../../../ir/DType.ts"
import type { OfFamily, OpName } from "../../../ir/ops.ts"
import { UnsupportedByDevice } from "../../errors.ts"
import type { Module } from "./Module.ts"

/** Type that arithmetic on a dtype happens in. f16 and bf16 are stored in 16 bits and computed in f32. */
export type Compute = "f32" | "i32" | "u32" | "bool"

/** Throws `UnsupportedByDevice` for f64, which WGSL lacks. */
export const compute = (dtype: DType): Compute => {
  switch (dtype) {
    case "f64":
      throw new UnsupportedByDevice({
        message: "WebGPU has no f64",
        hint: "cast to f32, or run on WebAssembly: Wasm.layer"
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

/** What an op's text depends on besides its arguments. */
export interface Context {
  readonly module: Module
  /** dtype of the first operand. */
  readonly from: DType
  /** dtype of the result. */
  readonly to: DType
}

type Emit = (context: Context, ...args: ReadonlyArray<string>) => string

const builtin =
  (name: string): Emit =>
  (_, ...args) =>
    `${name}(${args.join(", ")})`

const call =
  (name: Parameters<Module["helper"]>[0]): Emit =>
  ({ module }, ...args) =>
    `${module.helper(name)}(${args.join(", ")})`

const infix =
  (operator: string): Emit =>
  (_, x, y) =>
    `(${x} ${operator} ${y})`

/** One text for floats, one for signed, one for unsigned integers. */
const byType =
  (texts: { readonly f32: Emit; readonly i32: Emit; readonly u32: Emit }): Emit =>
  (context, ...args) => {
    const type = compute(context.from)
    return type === "bool" ? texts.u32(context, ...args) : texts[type](context, ...args)
  }

/**
 * All conditions, or any of them. Both sides are computed: `&&` and `||` are branches in WGSL, and a kernel that repeats a hundred of
 * them takes a driver many seconds to compile and parts the threads of a GPU.
 */
export const allOf = (...conditions: ReadonlyArray<string>): string => joined(conditions, "&")
export const anyOf = (...conditions: ReadonlyArray<string>): string => joined(conditions, "|")

const joined = (conditions: ReadonlyArray<string>, operator: string): string =>
  conditions.length === 1 ? (conditions[0] as string) : conditions.map((c) => `(${c})`).join(` ${operator} `)

const ordered =
  (operator: string): Emit =>
  ({ from }, x, y) =>
    from === "bool" ? `(u32(${x}) ${operator} u32(${y}))` : `(${x} ${operator} ${y})`

const extreme = (name: "min" | "max"): Emit =>
  byType({ f32: call(`${name}_f32`), i32: builtin(name), u32: builtin(name) })

/**
 * WGSL of every op on single elements. Arguments are names or literals; a literal never meets only literals, so no
 * constant expression overflows at compile time.
 */
export const scalar: { readonly [K in ScalarOp]: Emit } = {
  neg: byType({ f32: (_, x) => `-(${x})`, i32: (_, x) => `-(${x})`, u32: (_, x) => `(0u - ${x})` }),
  abs: builtin("abs"),
  sign: byType({ f32: call("sign_f32"), i32: builtin("sign"), u32: (_, x) => `min(${x}, 1u)` }),
  floor: builtin("floor"),
  ceil: builtin("ceil"),
  round: builtin("round"),
  exp: call("exp_f32"),
  exp2: call("exp2_f32"),
  log: call("log_f32"),
  sqrt: builtin("sqrt"),
  rsqrt: builtin("inverseSqrt"),
  sin: call("sin_f32"),
  cos: call("cos_f32"),
  tanh: call("tanh_f32"),
  erf: call("erf_f32"),
  sigmoid: call("sigmoid_f32"),
  not: (_, x) => `!(${x})`,
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: infix("/"),
  floor_div: byType({ f32: call("floor_div_f32"), i32: call("floor_div_i32"), u32: call("floor_div_u32") }),
  mod: byType({ f32: call("mod_f32"), i32: call("mod_i32"), u32: call("mod_u32") }),
  pow: call("pow_f32"),
  min: extreme("min"),
  max: extreme("max"),
  and: infix("&"),
  or: infix("|"),
  xor: ({ from }, x, y) => `(${x} ${from === "bool" ? "!=" : "^"} ${y})`,
  cast: (context, x) => cast(context, x as string),
  eq: infix("=="),
  // Unordered: true for NaN, where the operator's answer is false on some devices.
  ne: (_, x, y) => `!(${x} == ${y})`,
  lt: ordered("<"),
  le: ordered("<="),
  gt: ordered(">"),
  ge: ordered(">="),
  is_nan: call("nan_bits"),
  is_inf: call("inf_bits"),
  select: (_, condition, then, otherwise) => `select(${otherwise}, ${then}, ${condition})`
}

export const isScalarOp = (op: OpName): op is ScalarOp => Object.hasOwn(scalar, op)

/** Conversion between dtypes. Rounding to 16 bits is real: a value cast to f16 and back has lost its digits. */
export const cast = ({ module, from, to }: Context, x: string): string => {
  const [source, target] = [compute(from), compute(to)]
  if (target === "bool")
    return source === "bool"
      ? x
      : source === "f32"
        ? `((bitcast<u32>(${x}) & 0x7fffffffu) != 0u)`
        : `(${x} != ${source === "i32" ? "0" : "0u"})`
  if (target !== "f32") {
    return source === "f32"
      ? `${module.helper(`to_${target}`)}(${x})`
      : source === target
        ? x
        : `${target}(${x})`
  }
  const value = source === "f32" ? x : `f32(${x})`
  const exact = from === to || to === "f32" || from === "bool"
  if (exact) return value
  return `${module.helper(to === "f16" ? "round_f16" : "round_bf16")}(${value})`
}

const shortest = (x: number): string => {
  const text = String(x)
  return /[.e]/.test(text) ? text : `${text}.0`
}

/** A constant of a dtype as a WGSL expression; infinities and NaN are bits that the compiler cannot see through. */
export const literal = (module: Module, dtype: DType, x: number): string => {
  switch (compute(dtype)) {
    case "bool":
      return x === 0 ? "false" : "true"
    case "i32":
      return String(x | 0)
    case "u32":
      return `${x >>> 0}u`
    case "f32": {
      const value = Math.fround(x)
      if (Number.isFinite(value)) {
        // A short text where it reads back as the same float, so that 0.1 stays 0.1, and is not past the largest one.
        const short = Number(x.toPrecision(9))
        const same = Math.fround(short) === value && Math.abs(short) <= maxFinite.f32
        return shortest(same ? short : value)
      }
      const bits = Number.isNaN(value) ? "0x7fc00000u" : value > 0 ? "0x7f800000u" : "0xff800000u"
      return `bitcast<f32>(${bits} | ${module.opaqueZero()})`
    }
  }
}
