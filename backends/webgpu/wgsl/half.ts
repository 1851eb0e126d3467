import type { Module } from "./Module.ts"

/**
 * Vectors of four f16, to multiply with. Where the device has no `shader-f16` they are float32 that is rounded after each operation: slow, but
 * the same kernels, so that schedules in f16 can be run and compared on any device. Nobody chooses them there.
 */
export interface Half {
  /** How a vector lies in workgroup memory, in eight bytes. */
  readonly memory: string
  /** What lies there of a `vec4<f32>`. */
  readonly put: (floats: string) => string
  /** A vector to multiply with, and its numbers as `vec4<f32>`, of what lies there. */
  readonly take: (memory: string) => string
  readonly floats: (memory: string) => string
  /** Type of a vector to multiply with; of a `vec4<f32>`, rounded, and of one number of such. */
  readonly type: string
  readonly round: (floats: string) => string
  readonly splat: (number: string) => string
  /** sum + x · y, rounded once or twice. */
  readonly multiplyAdd: (x: string, y: string, sum: string) => string
  readonly widen: (x: string) => string
  /** Type of one number in memory, its bytes, and what lies there of an `f32` that f16 holds. */
  readonly scalar: string
  readonly bytes: number
  readonly one: (float: string) => string
}

const native: Half = {
  memory: "vec4<f16>",
  put: (x) => `vec4<f16>(${x})`,
  take: (x) => x,
  floats: (x) => `vec4<f32>(${x})`,
  type: "vec4<f16>",
  round: (x) => `vec4<f16>(${x})`,
  splat: (x) => `vec4<f16>(${x})`,
  multiplyAdd: (x, y, sum) => `fma(${x}, ${y}, ${sum})`,
  widen: (x) => `vec4<f32>(${x})`,
  scalar: "f16",
  bytes: 2,
  one: (x) => `f16(${x})`
}

const unpacked = (x: string): string => `vec4<f32>(unpack2x16float(${x}.x), unpack2x16float(${x}.y))`

const rounded = (module: Module): Half => ({
  memory: "vec2<u32>",
  // Numbers that f16 holds, infinite ones and NaN included.
  put: (x) => {
    const [a, b, c, d] = ["x", "y", "z", "w"].map((lane) => `${module.helper("f16_bits")}(${x}.${lane})`)
    return `vec2<u32>(${a} | (${b} << 16u), ${c} | (${d} << 16u))`
  },
  take: unpacked,
  floats: unpacked,
  type: "vec4<f32>",
  round: (x) => `quantizeToF16(${x})`,
  splat: (x) => `vec4<f32>(${x})`,
  multiplyAdd: (x, y, sum) => `quantizeToF16(quantizeToF16(${x} * ${y}) + ${sum})`,
  widen: (x) => x,
  scalar: "f32",
  bytes: 4,
  one: (x) => x
})

export const of = (module: Module): Half => (module.limits.shaderF16 ? native : rounded(module))

/** Products that are added up in f16 before their sum joins one in float32: each term is rounded so often, and no more. */
export const run = 8

/** A bound of |x|, 2^6, where the other operand is weights, which are scaled by it. */
export const weightScale = 64
