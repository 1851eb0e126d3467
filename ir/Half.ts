/**
 * The 16-bit float formats, in terms of JavaScript numbers. IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits.
 * bfloat16: the upper half of a binary32. Rounding is to nearest, ties to even, straight from float64, so no value is
 * rounded twice.
 */

const float64 = new Float64Array(1)
const words = new Uint32Array(float64.buffer)
const float32 = new Float32Array(1)
const word = new Uint32Array(float32.buffer)
/** Index of the upper half of a float64 on this machine. */
const upper = (() => {
  float64[0] = 1
  return words[0] === 0 ? 1 : 0
})()

/** Binary exponent of a finite number: floor(log2 |x|), and -1023 for zero and float64 subnormals. */
const exponent = (x: number): number => {
  float64[0] = x
  return (((words[upper] as number) >>> 20) & 0x7ff) - 1023
}

/**
 * Rounding to a multiple of one unit in the last place: adding and taking away 1.5 * 2^52 units leaves float64 addition no
 * bits below the unit, and float64 addition rounds half to even.
 */
const rounder = (fractionBits: number, minExponent: number, overflow: number) => {
  const magic = (e: number): number => 1.5 * 2 ** (52 + Math.max(e, minExponent) - fractionBits)
  return (x: number): number => {
    if (x === 0 || !Number.isFinite(x)) return x
    const e = exponent(x)
    if (2 ** e >= overflow) return x > 0 ? Infinity : -Infinity
    const c = magic(e)
    const rounded = x + c - c
    if (Math.abs(rounded) >= overflow) return x > 0 ? Infinity : -Infinity
    return rounded === 0 && x < 0 ? -0 : rounded
  }
}

/** The nearest f16 value: beyond 65519.99… it is infinite, below 2^-25 it is zero. */
export const roundF16: (x: number) => number = rounder(10, -14, 65536)

/** The nearest bf16 value. */
export const roundBf16: (x: number) => number = rounder(7, -126, 2 ** 128)

/** Bits of the nearest f16; every NaN becomes 0x7e00. */
export const f16Bits = (x: number): number => {
  if (Number.isNaN(x)) return 0x7e00
  const value = roundF16(x)
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const magnitude = Math.abs(value)
  if (magnitude === Infinity) return sign | 0x7c00
  if (magnitude < 2 ** -14) return sign | (magnitude * 2 ** 24)
  const e = exponent(magnitude)
  return sign | ((e + 15) << 10) | (((words[upper] as number) >>> 10) & 0x3ff)
}

/** Bits of the nearest bf16; every NaN becomes 0x7fc0. */
export const bf16Bits = (x: number): number => {
  if (Number.isNaN(x)) return 0x7fc0
  float32[0] = roundBf16(x)
  return (word[0] as number) >>> 16
}

/** The value of f16 bits. */
export const f16Value = (bits: number): number => {
  const sign = bits & 0x8000 ? -1 : 1
  const e = (bits >>> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (e === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return e === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (e - 25)
}

/** The value of bf16 bits. */
export const bf16Value = (bits: number): number => {
  word[0] = bits << 16
  return float32[0] as number
}
