/**
 * Element types.
 *
 * `bf16` is a storage type: arithmetic on it happens in f32. `f64` runs on WebAssembly and on the reference;
 * WebGPU refuses it by name.
 */
export type DType = "f64" | "f32" | "f16" | "bf16" | "i32" | "u32" | "bool"

export type FloatDType = "f64" | "f32" | "f16" | "bf16"
export type IntDType = "i32" | "u32"

/** Bytes of one element in host memory. On a device a bool takes four, see `deviceBytes`. */
export const bytes: { readonly [D in DType]: number } = {
  f64: 8,
  f32: 4,
  f16: 2,
  bf16: 2,
  i32: 4,
  u32: 4,
  bool: 1
}

/** Bytes of one element in a WebGPU storage buffer: WGSL has no 1-byte type, so a bool is a u32 there. */
export const deviceBytes: { readonly [D in DType]: number } = { ...bytes, bool: 4 }

export const all = Object.keys(bytes) as ReadonlyArray<DType>

export const isDType = (x: unknown): x is DType => typeof x === "string" && x in bytes

export const isFloat = (d: DType): d is FloatDType =>
  d === "f64" || d === "f32" || d === "f16" || d === "bf16"

export const isInt = (d: DType): d is IntDType => d === "i32" || d === "u32"

/**
 * Unit roundoff of a float type: the largest relative error of rounding a real number to it.
 * Tolerances are derived from it, never picked.
 */
export const roundoff: { readonly [D in FloatDType]: number } = {
  f64: 2 ** -53,
  f32: 2 ** -24,
  f16: 2 ** -11,
  bf16: 2 ** -8
}

/** Largest finite value of a float type. */
export const maxFinite: { readonly [D in FloatDType]: number } = {
  f64: Number.MAX_VALUE,
  f32: (2 - 2 ** -23) * 2 ** 127,
  f16: 65504,
  bf16: (2 - 2 ** -7) * 2 ** 127
}

const lattice: { readonly [D in DType]: number } = {
  bool: 0,
  u32: 1,
  i32: 2,
  bf16: 3,
  f16: 3,
  f32: 4,
  f64: 5
}

/**
 * The common type of two operands: bool < u32 < i32 < {f16, bf16} < f32 < f64, where f16 and bf16 meet at
 * f32, since neither holds the other's values. An integer meeting a float takes the float's type.
 */
export const promote = (a: DType, b: DType): DType => {
  if (a === b) return a
  if (lattice[a] === lattice[b]) return "f32"
  return lattice[a] > lattice[b] ? a : b
}
