import * as DType from "./DType.ts"
import * as Half from "./Half.ts"

/**
 * How a JavaScript number becomes an element of a dtype. Every store of the compiler's own (host arrays, the reference,
 * constants folded by passes) goes through one of these two tables. They differ on integers only.
 */
type Store = { readonly [D in DType.DType]: (x: number) => number }

const floats = {
  f64: (x: number): number => x,
  f32: Math.fround,
  f16: Half.roundF16,
  bf16: Half.roundBf16
}

const truth = (x: number): number => (x !== 0 ? 1 : 0)

/** The result of arithmetic: floats round to nearest even, integers wrap modulo 2^32, bool is `!= 0`. */
export const wrap: Store = { ...floats, i32: (x) => x | 0, u32: (x) => x >>> 0, bool: truth }

const saturated =
  (low: number, high: number) =>
  (x: number): number =>
    Number.isNaN(x) ? 0 : Math.trunc(Math.min(high, Math.max(low, x))) + 0

/** The conversion of a float: integers truncate towards zero and saturate, NaN gives 0. */
export const saturate: Store = {
  ...floats,
  i32: saturated(-(2 ** 31), 2 ** 31 - 1),
  u32: saturated(0, 2 ** 32 - 1),
  bool: truth
}

/** What `cast` does: floats saturate into integers, integers keep their low 32 bits. */
export const cast = (from: DType.DType, to: DType.DType): ((x: number) => number) =>
  DType.isFloat(from) ? saturate[to] : wrap[to]

/** The least value of a dtype: what a maximum over nothing is. */
export const least: { readonly [D in DType.DType]: number } = {
  f64: -Infinity,
  f32: -Infinity,
  f16: -Infinity,
  bf16: -Infinity,
  i32: -(2 ** 31),
  u32: 0,
  bool: 0
}

/** The greatest value of a dtype: what a minimum over nothing is. */
export const greatest: { readonly [D in DType.DType]: number } = {
  f64: Infinity,
  f32: Infinity,
  f16: Infinity,
  bf16: Infinity,
  i32: 2 ** 31 - 1,
  u32: 2 ** 32 - 1,
  bool: 1
}
