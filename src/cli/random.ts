import type * as DType from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"

/** Uniform numbers in [0, 1), the same for the same seed everywhere: mulberry32 (T. Ettinger, public domain). */
const uniform = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Normal with mean 0 and variance 1: Box & Muller 1958. */
const normal = (next: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())

/** A number of its own for each input, so that q and k of one seed differ. */
const mixed = (seed: number, name: string): number => {
  let hash = 0x811c9dc5 ^ seed
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash
}

/** Floats are normal, integers 0 to 7, bools true three times in four. */
export const random = (
  dtype: DType.DType,
  shape: ReadonlyArray<number>,
  seed: number,
  name: string
): HostArray.HostArray => {
  const next = uniform(mixed(seed, name))
  const one =
    dtype === "bool"
      ? () => (next() < 0.75 ? 1 : 0)
      : dtype === "i32" || dtype === "u32"
        ? () => Math.floor(next() * 8)
        : () => normal(next)
  return HostArray.fromNumbers(dtype, shape, Array.from({ length: HostArray.sizeOf(shape) }, one))
}
