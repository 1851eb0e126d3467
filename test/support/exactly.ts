/** Functions of doubles to 200 bits, in integers that count units of 2^-200: to measure how far others are off. */

const bits = 200n
const one = 1n << bits

const words = new DataView(new ArrayBuffer(8))

/** A finite double as a whole number times a power of two. */
const parts = (x: number): { readonly mantissa: bigint; readonly exponent: number } => {
  words.setFloat64(0, x)
  const raw = words.getBigUint64(0)
  const [exponent, fraction] = [Number((raw >> 52n) & 2047n), raw & ((1n << 52n) - 1n)]
  const magnitude = exponent === 0 ? fraction : fraction | (1n << 52n)
  return { mantissa: x < 0 ? -magnitude : magnitude, exponent: Math.max(exponent, 1) - 1075 }
}

/** A number m * 2^e, with m in units of 2^-200. */
interface Exact {
  readonly m: bigint
  readonly e: number
}

const shifted = (m: bigint, by: number): bigint => (by >= 0 ? m << BigInt(by) : m >> BigInt(-by))

const fixed = (x: number): bigint => {
  const { mantissa, exponent } = parts(x)
  return shifted(mantissa, exponent + Number(bits))
}

const times = (a: bigint, b: bigint): bigint => (a * b) >> bits
const over = (a: bigint, b: bigint): bigint => (a << bits) / b

/** A sum of terms, each made of the one before. */
const series = (
  first: bigint,
  next: (term: bigint, n: bigint) => bigint,
  share: (term: bigint, n: bigint) => bigint
): bigint => {
  let sum = 0n
  for (let [term, n] = [first, 0n]; term !== 0n && term !== -1n; n++) {
    sum += share(term, n)
    term = next(term, n)
  }
  return sum
}

/** The inverse hyperbolic tangent, of what is less than 1/2. */
const artanh = (x: bigint): bigint => {
  const square = times(x, x)
  return series(
    x,
    (t) => times(t, square),
    (t, n) => t / (2n * n + 1n)
  )
}

const ln2 = 2n * artanh(one / 3n)

/** e^x of a number in units. */
const expOf = (x: bigint): Exact => {
  const k = (2n * x + ln2) / (2n * ln2) - (2n * x + ln2 < 0n ? 1n : 0n)
  const rest = x - k * ln2
  const m = series(
    one,
    (t, n) => times(t, rest) / (n + 1n),
    (t) => t
  )
  return { m, e: Number(k) }
}

/** As units, where nothing is lost by that. */
const units = ({ m, e }: Exact): bigint => shifted(m, e)

export const exp = (x: number): Exact => expOf(fixed(x))

export const exp2 = (x: number): Exact => {
  const whole = Math.round(x)
  const { m, e } = expOf(times(fixed(x - whole), ln2))
  return { m, e: e + whole }
}

export const log = (x: number): Exact => {
  const { mantissa, exponent } = parts(x)
  const digits = mantissa.toString(2).length
  const m = shifted(mantissa, Number(bits) - digits)
  return { m: BigInt(exponent + digits) * ln2 + 2n * artanh(over(m - one, m + one)), e: 0 }
}

export const tanh = (x: number): Exact => {
  // From the side of the sign, so that nothing is infinite.
  const power = units(expOf(-2n * fixed(Math.abs(x))))
  const m = over(one - power, one + power)
  return { m: x < 0 ? -m : m, e: 0 }
}

export const sigmoid = (x: number): Exact => {
  const power = expOf(-fixed(Math.abs(x)))
  const small = units(power)
  return x >= 0 ? { m: over(one, one + small), e: 0 } : { m: over(power.m, one + small), e: power.e }
}

/** π by Machin's formula. */
const pi = (() => {
  const arctan = (d: bigint): bigint =>
    series(
      one / d,
      (t) => -t / (d * d),
      (t, n) => t / (2n * n + 1n)
    )
  return 4n * (4n * arctan(5n) - arctan(239n))
})()

const root = (x: bigint): bigint => {
  let r = 1n << bits
  for (let n = 0; n < 40; n++) r = (r + over(x, r)) / 2n
  return r
}

/** 2/√π e^(-x²) Σ 2^n x^(2n+1) / (2n+1)!!, whose terms have one sign. */
export const erf = (x: number): Exact => {
  const own = fixed(x)
  const square = times(own, own)
  const sum = series(
    own,
    (t, n) => (2n * times(t, square)) / (2n * n + 3n),
    (t) => t
  )
  return { m: over(2n * times(sum, units(expOf(-square))), root(pi)), e: 0 }
}

/** How far a double is off, in units of the last place of the exact value, those of subnormal numbers below them. */
export const unitsOff = (found: number, { m, e }: Exact): number => {
  const magnitude = m < 0n ? -m : m
  const place = Math.max(magnitude.toString(2).length - 1 - Number(bits) + e, -1022) - 52
  const { mantissa, exponent } = parts(found)
  // Both in units of 2^(place - 40).
  const difference = shifted(mantissa, exponent - place + 40) - shifted(m, e - Number(bits) - place + 40)
  return Math.abs(Number(difference)) / 2 ** 40
}
