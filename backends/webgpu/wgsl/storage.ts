import type { DType } from "../../../ir/DType.ts"
import type { Ref } from "../Job.ts"
import type { Emitter } from "./Emitter.ts"
import type { Module } from "./Module.ts"
import { compute } from "./scalar.ts"

/**
 * How elements lie in buffers: f32, i32 and u32 as they are, bool as u32, f16 and bf16 two in a word (the even element in
 * the low half). Where the device has `shader-f16` an f16 buffer is an `array<f16>` of the same bytes.
 */

const isPacked = (module: Module, dtype: DType): boolean =>
  dtype === "bf16" || (dtype === "f16" && !module.limits.shaderF16)

const plainType = (dtype: DType): string =>
  dtype === "bool" ? "u32" : dtype === "f16" ? "f16" : compute(dtype)

/** Whether stores of this dtype are cheap only two at a time. */
export const storesPairs = (module: Module, dtype: DType): boolean => isPacked(module, dtype)

/** The element at a row-major number, as a bound value: f32 for floats, bool for bool. */
export const load = (emitter: Emitter, ref: Ref, dtype: DType, index: string): string => {
  const { module } = emitter
  if (!isPacked(module, dtype)) {
    const name = module.buffer(ref, { dtype, access: "read", type: plainType(dtype) })
    const element = emitter.bindLoad(`${name}[${index}]`)
    return dtype === "f16"
      ? emitter.bind(`f32(${element})`)
      : dtype === "bool"
        ? emitter.bind(`${element} != 0u`)
        : element
  }
  const name = module.buffer(ref, { dtype, access: "read", type: "u32" })
  const half = emitter.halfOf(index)
  if (half !== undefined) {
    const word = emitter.bindLoad(`${name}[${half.word}]`)
    return emitter.bind(unpackHalf(dtype, word, half.odd ? "y" : "x"))
  }
  const word = emitter.bindLoad(`${name}[${emitter.bind(`u32(${index}) >> 1u`)}]`)
  const shift = emitter.bind(`(u32(${index}) & 1u) << 4u`)
  return emitter.bind(unpackHalf(dtype, `(${word} >> ${shift})`, "x"))
}

const unpackHalf = (dtype: DType, word: string, half: "x" | "y"): string =>
  dtype === "f16"
    ? `unpack2x16float(${word}).${half}`
    : half === "x"
      ? `bitcast<f32>(${word} << 16u)`
      : `bitcast<f32>(${word} & 0xffff0000u)`

/**
 * Four elements from `4 * index` on as a bound `vec4<f32>`, or `vec4` of the integer type; the buffer is bound as vectors, beside a
 * scalar binding where another load made one. The tensor's size is a multiple of 4 elements or what lies past it is ignored.
 */
export const loadVec4 = (emitter: Emitter, ref: Ref, dtype: DType, index: string): string => {
  const { module } = emitter
  if (isPacked(module, dtype)) {
    const name = module.buffer(ref, { dtype, access: "read", type: "vec2<u32>" })
    const words = emitter.bindLoad(`${name}[${index}]`)
    return emitter.bind(
      dtype === "f16"
        ? `vec4<f32>(unpack2x16float(${words}.x), unpack2x16float(${words}.y))`
        : `bitcast<vec4<f32>>(vec4<u32>(${words}.x << 16u, ${words}.x & 0xffff0000u, ${words}.y << 16u, ${words}.y & 0xffff0000u))`
    )
  }
  const type = plainType(dtype)
  const name = module.buffer(ref, { dtype, access: "read", type: `vec4<${type}>` })
  const loaded = emitter.bindLoad(`${name}[${index}]`)
  if (dtype === "f16") return emitter.bind(`vec4<f32>(${loaded})`)
  return dtype === "bool" ? emitter.bind(`${loaded} != vec4<u32>(0u)`) : loaded
}

/** Four elements of an f16 buffer as they lie: as `Half.memory` says. */
export const loadHalf = (emitter: Emitter, ref: Ref, index: string): string => {
  const { module } = emitter
  const type = isPacked(module, "f16") ? "vec2<u32>" : "vec4<f16>"
  const name = module.buffer(ref, { dtype: "f16", access: "read", type })
  return emitter.bindLoad(`${name}[${index}]`)
}

const bits = (module: Module, dtype: DType, value: string): string =>
  `${module.helper(dtype === "f16" ? "f16_bits" : "bf16_bits")}(${value})`

/** Stores one element. A packed half is set by two atomic operations, so that threads may share a word. */
export const store = (emitter: Emitter, ref: Ref, dtype: DType, index: string, value: string): void => {
  const { module } = emitter
  if (!isPacked(module, dtype)) {
    const name = module.buffer(ref, { dtype, access: "read_write", type: plainType(dtype) })
    const stored = dtype === "f16" ? `f16(${value})` : dtype === "bool" ? `select(0u, 1u, ${value})` : value
    emitter.line(`${name}[${index}] = ${stored};`)
    return
  }
  const name = module.buffer(ref, { dtype, access: "read_write", type: "atomic<u32>" })
  const word = emitter.bind(`u32(${index}) >> 1u`)
  const shift = emitter.bind(`(u32(${index}) & 1u) << 4u`)
  const half = emitter.constant(bits(module, dtype, value))
  emitter.line(`atomicAnd(&${name}[${word}], ~(0xffffu << ${shift}));`)
  emitter.line(`atomicOr(&${name}[${word}], ${half} << ${shift});`)
}

/**
 * Stores elements `2 * half` and `2 * half + 1`, of which only the thread that calls this writes. `oddInside` says whether the
 * second lies within the tensor; undefined where it always does. For dtypes that `storesPairs` names.
 */
export const storePair = (
  emitter: Emitter,
  ref: Ref,
  dtype: DType,
  half: string,
  values: readonly [even: string, odd: string]
): void => {
  const { module } = emitter
  const name = module.buffer(ref, { dtype, access: "read_write", type: "u32" })
  emitter.line(
    `${name}[${half}] = ${bits(module, dtype, values[0])} | (${bits(module, dtype, values[1])} << 16u);`
  )
}
