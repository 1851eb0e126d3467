import * as DType from "../../../ir/DType.ts"
import type * as Shape from "../../../ir/Shape.ts"
import { loadF64, loadLaneF64, splatF64, storeF64, wide } from "../assembler/doubles.ts"
import {
  call,
  type Expr,
  i32,
  interleave,
  loadLane,
  op,
  load as read,
  splat,
  splatF32,
  storeLane,
  store as write
} from "../assembler/Instruction.ts"
import { apart } from "./apart.ts"
import type { Emitter } from "./Emitter.ts"
import { toOdd } from "./mathF64.ts"
import * as Value from "./Value.ts"

type V = Expr<"v128">

/** 16-bit floats in the low halves of the lanes, as f32. */
export const widen = (e: Emitter, dtype: "f16" | "bf16", half: V): V => {
  if (dtype === "bf16") return e.bind(op("i32x4.shl", half, i32(16)))
  // The sign stays where it is, and the exponent is moved by a multiplication, which also makes subnormals right.
  const signed = op("i32x4.shr_s", op("i32x4.shl", half, i32(16)), i32(3))
  const value = e.bind(op("f32x4.mul", op("v128.and", signed, splat(0x8fffe000 | 0)), splatF32(2 ** 112)))
  const special = op("f32x4.ge", op("f32x4.abs", value), splatF32(2 ** 16))
  return e.bind(op("v128.or", value, op("v128.and", special, splat(0x7f800000))))
}

/** Words (or 16-bit halves of words) as vectors of the type that is computed in. */
const decode = (e: Emitter, dtype: DType.DType, raw: V): V => {
  if (dtype === "f16" || dtype === "bf16") return widen(e, dtype, raw)
  return dtype === "bool" ? e.bind(op("i32x4.ne", raw, splat(0))) : raw
}

/** What is stored for a value: words, or 16-bit halves of words. */
const encode = (e: Emitter, dtype: DType.DType, value: V): V => {
  if (dtype === "f16" || dtype === "bf16") return e.bind(call(e.unit.helper(`${dtype}_bits`), value))
  return dtype === "bool" ? e.bind(op("v128.and", value, splat(1))) : value
}

/** Bytes of an element in memory. */
export const bytesOf = (dtype: DType.DType): number => DType.deviceBytes[dtype]

/** Vectors of floats that lie one after the other, as f32. */
export interface Vectors {
  /** From one vector to the next. */
  readonly bytes: number
  readonly at: (e: Emitter, address: Expr<"i32">, offset?: number) => V
  readonly pair: (e: Emitter, address: Expr<"i32">, offset?: number) => readonly [V, V]
}

export const vectors = (dtype: "f32" | "f16" | "bf16"): Vectors => {
  const bytes = 4 * bytesOf(dtype)
  const at: Vectors["at"] = (e, address, offset = 0) =>
    dtype === "f32"
      ? e.now(read("v128.load", address, offset))
      : widen(e, dtype, e.now(read("v128.load16x4_u", address, offset)))
  return {
    bytes,
    at,
    pair: (e, address, offset = 0) =>
      dtype === "f32"
        ? [at(e, address, offset), at(e, address, offset + bytes)]
        : widenPair(e, dtype, e.now(read("v128.load", address, offset)))
  }
}

/** Eight 16-bit floats as f32, the first four and the last. The upper half of a word gets sign, exponent and what fits of the fraction, the lower half the rest. */
const widenPair = (e: Emitter, dtype: "f16" | "bf16", all: V): readonly [V, V] => {
  const words = (low: V, high: V) =>
    (["first", "last"] as const).map((which) => e.now(interleave(low, high, which))) as [V, V]
  if (dtype === "bf16") return words(splat(0), all)
  const twice = (x: number): V => splat((x << 16) | x)
  // As in `widen`, but an exponent of ones becomes one of ones before it is moved: infinities and NaN stay what they are.
  const exponent = op("v128.and", all, twice(0x7c00))
  const special = op("v128.and", op("i16x8.eq", exponent, twice(0x7c00)), twice(0x7f80))
  const high = e.now(op("v128.or", op("v128.and", op("i16x8.shr_s", all, i32(3)), twice(0x8fff)), special))
  const [first, last] = words(e.now(op("i16x8.shl", all, i32(13))), high)
  const moved = (x: V): V => e.now(op("f32x4.mul", x, splatF32(2 ** 112)))
  return [moved(first), moved(last)]
}

/** The elements of a tensor at an index tuple, in the type they are computed in. */
export const load = (
  e: Emitter,
  pointer: Expr<"i32">,
  dtype: DType.DType,
  indices: ReadonlyArray<Value.Value>,
  shape: Shape.Shape
): Value.Value => {
  const bytes = bytesOf(dtype)
  const at = Value.linearize(e, indices, shape, bytes, pointer)
  return dtype === "f64"
    ? Value.doubles(loadDoubles(e, at))
    : Value.vector(decode(e, dtype, loadRaw(e, at, bytes)))
}

const loadDoubles = (e: Emitter, at: Value.Value): Expr<"v256"> => {
  if (Value.isUniform(at) || e.width === 1) {
    const { base, offset } = apart(e, Value.first(e, at))
    return e.bindLoad(loadF64("v256.load64_splat", base, offset))
  }
  if (at._tag === "affine" && at.step === 8) {
    const { base, offset } = apart(e, at.base)
    return e.bindLoad(loadF64("v256.load", base, offset))
  }
  return e.bindLoad(
    Value.toLanes(e, at).reduce<Expr<"v256">>((all, a, n) => loadLaneF64(a, all, n), splatF64(0))
  )
}

const loadRaw = (e: Emitter, at: Value.Value, bytes: number): V => {
  if (Value.isUniform(at) || e.width === 1) {
    const { base, offset } = apart(e, Value.first(e, at))
    return bytes === 2
      ? e.bindLoad(op("i32x4.splat", read("i32.load16_u", base, offset)))
      : e.bindLoad(read("v128.load32_splat", base, offset))
  }
  if (at._tag === "affine" && at.step === bytes) {
    const { base, offset } = apart(e, at.base)
    return e.bindLoad(read(bytes === 2 ? "v128.load16x4_u" : "v128.load", base, offset))
  }
  const addresses = Value.toLanes(e, at)
  return e.bindLoad(
    addresses.reduce<V>(
      (all, address, n) =>
        bytes === 2
          ? loadLane("v128.load16_lane", address, all, 2 * n)
          : loadLane("v128.load32_lane", address, all, n),
      splat(0)
    )
  )
}

/** Doubles that are stored as another float are rounded once. */
const narrow = (e: Emitter, dtype: DType.DType, value: Value.Value): Value.Value =>
  value._tag !== "doubles"
    ? value
    : Value.vector(dtype === "f32" ? e.bind(wide("f32x4.demote_f64x4", value.v)) : toOdd(e, value.v))

/** Stores the elements of a result. */
export const store = (
  e: Emitter,
  pointer: Expr<"i32">,
  dtype: DType.DType,
  indices: ReadonlyArray<Value.Value>,
  shape: Shape.Shape,
  value: Value.Value
): void => {
  const bytes = bytesOf(dtype)
  const at = Value.linearize(e, indices, shape, bytes, pointer)
  if (dtype === "f64") {
    const all = Value.toDoubles(value)
    if (e.width === 4 && at._tag === "affine" && at.step === bytes) {
      const { base, offset } = apart(e, at.base)
      e.line(storeF64(base, all, { offset }))
    } else for (const [lane, a] of Value.toLanes(e, at).entries()) e.line(storeF64(a, all, { lane }))
    return
  }
  const raw = encode(e, dtype, Value.toVector(e, narrow(e, dtype, value)))
  if (e.width === 4 && at._tag === "affine" && at.step === bytes) {
    const { base, offset } = apart(e, at.base)
    e.line(
      bytes === 2
        ? storeLane("v128.store64_lane", at.base, op("i16x8.narrow_i32x4_u", raw, raw), 0)
        : write("v128.store", base, raw, offset)
    )
    return
  }
  Value.toLanes(e, at).forEach((address, n) => {
    e.line(
      bytes === 2
        ? storeLane("v128.store16_lane", address, raw, 2 * n)
        : storeLane("v128.store32_lane", address, raw, n)
    )
  })
}
