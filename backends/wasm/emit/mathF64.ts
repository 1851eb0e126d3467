import { laneF64, splatF64, wide, withLaneF64 } from "../assembler/doubles.ts"
import { call, type Expr, i32, op, splat } from "../assembler/Instruction.ts"
import type { Emitter } from "./Emitter.ts"
import type { ImportName } from "./library.ts"

type D = Expr<"v256">
type V = Expr<"v128">

/**
 * Functions on vectors of doubles, for all arguments: infinities and NaN come out as IEEE 754 has them. How far they are off is tested
 * against more digits: exp, exp2 and log by less than 1 unit in the last place, tanh, sigmoid and erf by less than 2.
 */

/** a * b + c; in one instruction where the engine has it, which may round once or twice. */
export const madd = (e: Emitter, a: D, b: D, c: D): D =>
  e.unit.features.relaxed
    ? wide("f64x4.relaxed_madd", a, b, c)
    : wide("f64x4.add", wide("f64x4.mul", a, b), c)

const add = (a: D, b: D): D => wide("f64x4.add", a, b)
const sub = (a: D, b: D): D => wide("f64x4.sub", a, b)
const mul = (a: D, b: D): D => wide("f64x4.mul", a, b)
const div = (a: D, b: D): D => wide("f64x4.div", a, b)

/** A polynomial, the highest coefficient first. */
const polynomial = (e: Emitter, x: D, coefficients: ReadonlyArray<number>): D =>
  coefficients
    .slice(1)
    .reduce<D>((sum, c) => e.bind(madd(e, sum, x, splatF64(c))), splatF64(coefficients[0] as number))

const clamp = (e: Emitter, x: D, low: number, high: number): D =>
  e.bind(wide("f64x4.pmin", wide("f64x4.pmax", x, splatF64(low)), splatF64(high)))

const none = splat(0)

/** x * 2^n in two steps, so that results may be subnormal. */
const scale = (e: Emitter, x: D, n: V): D => {
  const half = e.bind(op("i32x4.shr_s", n, i32(1)))
  const power = (k: V): D =>
    wide("f64x4.join_i32x4", none, op("i32x4.shl", op("i32x4.add", k, splat(1023)), i32(20)))
  return e.bind(mul(mul(x, power(half)), power(op("i32x4.sub", n, half))))
}

/** ln 2 in two parts: whole numbers up to 2^20 times the first are exact. fdlibm. */
const [ln2High, ln2Low] = [0.6931471803691238, 1.9082149292705877e-10]

/** e^(high - low) where that is at most ln 2 / 2 from 0, times 2^n. fdlibm. */
const expOf = (e: Emitter, high: D, low: D, n: V): D => {
  const r = e.bind(sub(high, low))
  const t = e.bind(mul(r, r))
  const p = polynomial(
    e,
    t,
    [
      4.1381367970572385e-8, -1.6533902205465252e-6, 6.613756321437934e-5, -0.0027777777777015593,
      0.16666666666666602
    ]
  )
  const c = e.bind(sub(r, mul(t, p)))
  const rest = sub(sub(low, div(mul(r, c), sub(splatF64(2), c))), high)
  return scale(e, e.bind(sub(splatF64(1), rest)), n)
}

const whole = (e: Emitter, k: D): V => e.bind(wide("i32x4.trunc_sat_f64x4_s", k))

export const exp = (e: Emitter, x: D): D => {
  const clamped = clamp(e, x, -746, 710)
  const k = e.bind(wide("f64x4.nearest", mul(clamped, splatF64(Math.LOG2E))))
  const high = e.bind(sub(clamped, mul(k, splatF64(ln2High))))
  return expOf(e, high, e.bind(mul(k, splatF64(ln2Low))), whole(e, k))
}

export const exp2 = (e: Emitter, x: D): D => {
  const clamped = clamp(e, x, -1080, 1030)
  const k = e.bind(wide("f64x4.nearest", clamped))
  const rest = e.bind(sub(clamped, k))
  const high = e.bind(mul(rest, splatF64(ln2High)))
  return expOf(e, high, e.bind(mul(rest, splatF64(-ln2Low))), whole(e, k))
}

/** fdlibm. */
export const log = (e: Emitter, x: D): D => {
  const tiny = e.bind(wide("f64x4.lt", x, splatF64(2 ** -1022)))
  const normal = e.bind(wide("f64x4.select", mul(x, splatF64(2 ** 54)), x, tiny))
  // The mantissa from √½ to √2, and the exponent that goes with it.
  const lifted = e.bind(op("i32x4.add", wide("i32x4.high_f64x4", normal), splat(0x3ff00000 - 0x3fe6a09e)))
  const power = op("i32x4.sub", op("i32x4.shr_u", lifted, i32(20)), splat(1023))
  const exponent = op("i32x4.sub", power, op("v128.and", tiny, splat(54)))
  const k = e.bind(wide("f64x4.convert_i32x4_s", exponent))
  const upper = op("i32x4.add", op("v128.and", lifted, splat(0xfffff)), splat(0x3fe6a09e))
  const f = e.bind(sub(wide("f64x4.join_i32x4", wide("i32x4.low_f64x4", normal), upper), splatF64(1)))
  const s = e.bind(div(f, add(splatF64(2), f)))
  const z = e.bind(mul(s, s))
  const w = e.bind(mul(z, z))
  const even = mul(w, polynomial(e, w, [0.15313837699209373, 0.22222198432149784, 0.3999999999940942]))
  const odd = mul(
    z,
    polynomial(e, w, [0.14798198605116586, 0.1818357216161805, 0.2857142874366239, 0.6666666666666735])
  )
  const half = e.bind(mul(mul(splatF64(0.5), f), f))
  const bent = sub(half, add(mul(s, add(half, add(even, odd))), mul(k, splatF64(ln2Low))))
  const value = sub(mul(k, splatF64(ln2High)), sub(bent, f))
  // -inf at 0, NaN below, inf and NaN as they are.
  const ordinary = op("v128.and", wide("f64x4.gt", x, splatF64(0)), wide("f64x4.lt", x, splatF64(Infinity)))
  const atZero = wide("f64x4.select", splatF64(-Infinity), splatF64(NaN), wide("f64x4.eq", x, splatF64(0)))
  const beyond = wide("f64x4.select", x, atZero, wide("f64x4.gt", x, splatF64(0)))
  return e.bind(wide("f64x4.select", value, beyond, e.bind(ordinary)))
}

/** The value, which has no sign, with the sign of x. */
const signed = (e: Emitter, value: D, x: D): D => {
  const own = e.bind(value)
  const sign = op("v128.and", wide("i32x4.high_f64x4", x), splat(0x80000000))
  const upper = op("v128.or", wide("i32x4.high_f64x4", own), sign)
  return e.bind(wide("f64x4.join_i32x4", wide("i32x4.low_f64x4", own), upper))
}

/** Cephes: a quotient of polynomials near 0, where that of exponentials loses digits. */
export const tanh = (e: Emitter, x: D): D => {
  const a = e.bind(wide("f64x4.abs", x))
  const z = e.bind(mul(a, a))
  const top = polynomial(e, z, [-0.9643991794250523, -99.28772310019185, -1614.6876844170845])
  const bottom = polynomial(e, z, [1, 112.81167849163293, 2235.4883906010045, 4844.063053251255])
  const near = add(a, mul(mul(a, z), div(top, bottom)))
  const growth = exp(e, e.bind(add(a, a)))
  const far = sub(splatF64(1), div(splatF64(2), add(growth, splatF64(1))))
  return signed(e, wide("f64x4.select", near, far, wide("f64x4.lt", a, splatF64(0.625))), x)
}

export const sigmoid = (e: Emitter, x: D): D => {
  const small = exp(e, e.bind(wide("f64x4.neg", wide("f64x4.abs", x))))
  const top = wide("f64x4.select", splatF64(1), small, wide("f64x4.ge", x, splatF64(0)))
  return e.bind(div(top, add(splatF64(1), small)))
}

/** erf x / x for x of at most 1, of x². Cephes. */
const [erfTop, erfBottom] = [
  [0, 9.604973739870516, 90.02601972038427, 2232.005345946843, 7003.325141128051, 55592.30130103949],
  [1, 33.56171416475031, 521.3579497801527, 4594.323829709801, 22629.000061389095, 49267.39426086359]
] as const

/** erfc x · e^x² for x from 1 to 8. Cephes. */
const [erfcTop, erfcBottom] = [
  [
    2.461969814735305e-10, 0.5641895648310689, 7.463210564422699, 48.63719709856814, 196.5208329560771,
    526.4451949954773, 934.5285271719576, 1027.5518868951572, 557.5353353693994
  ],
  [
    1, 13.228195115474499, 86.70721408859897, 354.9377788878199, 975.7085017432055, 1823.9091668790973,
    2246.3376081871097, 1656.6630919416134, 557.5353408177277
  ]
] as const

/** x plus x times what is small there, which loses fewer digits than a product, to 1; 1 - e^(-x²) times a quotient beyond. */
export const erf = (e: Emitter, x: D): D => {
  const a = e.bind(wide("f64x4.pmin", wide("f64x4.abs", x), splatF64(6)))
  const z = e.bind(mul(a, a))
  const bottom = polynomial(e, z, erfBottom)
  const rest = div(
    polynomial(
      e,
      z,
      erfTop.map((c, n) => c - (erfBottom[n] as number))
    ),
    bottom
  )
  const near = add(a, mul(a, rest))
  const quotient = div(polynomial(e, a, erfcTop), polynomial(e, a, erfcBottom))
  const far = sub(splatF64(1), mul(exp(e, e.bind(wide("f64x4.neg", z))), quotient))
  return signed(e, wide("f64x4.select", near, far, wide("f64x4.lt", a, splatF64(1))), x)
}

export const floorDiv = (x: D, y: D): D => wide("f64x4.floor", div(x, y))

/** Bits that a step takes of a quotient, so that products with either half of the divisor are exact; the steps of any quotient of doubles. */
const stepBits = 26
const steps = Math.ceil(2098 / stepBits)

/** What is left of a after whole multiples of b, exactly, where the quotient has no more bits than a step takes. Neither is negative. */
const reduced = (e: Emitter, a: D, b: D): D => {
  const zero = splatF64(0)
  // Veltkamp's halves, of what does not overflow.
  const isLarge = e.bind(wide("f64x4.gt", b, splatF64(2 ** 900)))
  const by = (power: number): D => e.bind(wide("f64x4.select", splatF64(power), splatF64(1), isLarge))
  const scaled = e.bind(mul(b, by(2 ** -100)))
  const turned = e.bind(mul(scaled, splatF64(2 ** 27 + 1)))
  const high = e.bind(mul(sub(turned, sub(turned, scaled)), by(2 ** 100)))
  const q = e.bind(wide("f64x4.floor", div(a, b)))
  const near = e.bind(sub(sub(a, mul(q, high)), mul(q, sub(b, high))))
  const raised = e.bind(wide("f64x4.select", add(near, b), near, wide("f64x4.lt", near, zero)))
  const whole = e.bind(wide("f64x4.select", sub(raised, b), raised, wide("f64x4.ge", raised, b)))
  return e.bind(wide("f64x4.select", a, whole, wide("f64x4.lt", a, b)))
}

/** What is left of x after whole multiples of y, exactly, with the sign of y. */
export const mod = (e: Emitter, x: D, y: D): D => {
  const [a, b] = [e.bind(wide("f64x4.abs", x)), e.bind(wide("f64x4.abs", y))]
  const zero = splatF64(0)
  const rest = e.variable(reduced(e, a, b))
  const isOpen = e.bind(op("v128.and", wide("f64x4.gt", b, zero), wide("f64x4.lt", a, splatF64(Infinity))))
  const isFar = e.bind(op("v128.and", isOpen, wide("f64x4.ge", mul(a, splatF64(2 ** -stepBits)), b)))
  e.branch(op("v128.any_true", isFar), () => {
    rest.set(wide("f64x4.select", a, rest.value, isFar))
    const multiple = e.variable(b)
    const most = e.now(mul(rest.value, splatF64(2 ** -stepBits)))
    e.loop(i32(0), i32(steps), 1, () => {
      const next = mul(multiple.value, splatF64(2 ** stepBits))
      multiple.set(wide("f64x4.select", next, multiple.value, wide("f64x4.le", multiple.value, most)))
    })
    e.loop(i32(0), i32(steps), 1, () => {
      const less = reduced(e, e.now(rest.value), e.now(multiple.value))
      rest.set(wide("f64x4.select", less, rest.value, isFar))
      const next = mul(multiple.value, splatF64(2 ** -stepBits))
      multiple.set(wide("f64x4.select", next, multiple.value, wide("f64x4.gt", multiple.value, b)))
    })
  })
  const isNegative = e.bind(wide("f64x4.lt", x, zero))
  const own = e.now(wide("f64x4.select", wide("f64x4.neg", rest.value), rest.value, isNegative))
  const isOther = op("v128.xor", isNegative, wide("f64x4.lt", y, zero))
  const isTurned = op("v128.and", wide("f64x4.ne", own, zero), isOther)
  return e.bind(wide("f64x4.select", add(own, y), own, isTurned))
}

/** A function of the host, lane by lane. A function of doubles has two lanes, or one where there are no vectors. */
export const host =
  (name: ImportName) =>
  (e: Emitter, ...args: ReadonlyArray<D>): D =>
    (e.unit.features.simd ? [0, 1] : [0]).reduce<D>(
      (all, n) => e.bind(withLaneF64(n, all, call(e.unit.imported(name), ...args.map((x) => laneF64(n, x))))),
      splatF64(0)
    )

/** As f32 for what is rounded once more: to odd, so that rounding twice is rounding once. */
export const toOdd = (e: Emitter, x: D): V => {
  const near = e.bind(wide("f32x4.demote_f64x4", x))
  const back = e.bind(wide("f64x4.promote_f32x4", near))
  const past = wide("f64x4.gt", wide("f64x4.abs", back), wide("f64x4.abs", x))
  const inexact = wide("f64x4.ne", back, x)
  // A condition that holds is -1.
  return e.bind(op("v128.or", op("i32x4.add", near, past), op("v128.and", inexact, splat(1))))
}
