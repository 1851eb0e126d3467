import { call, type Expr, f64, i32, lane, op, select, splat, splatF32 } from "../assembler/Instruction.ts"
import type { Emitter } from "./Emitter.ts"
import type { ImportName } from "./library.ts"

type V = Expr<"v128">

/** Functions on vectors of floats, for all arguments unless they say otherwise: infinities and NaN come out as IEEE 754 has them. */

/** a * b + c; in one instruction where the engine has it, which may round once or twice. */
export const madd = (e: Emitter, a: V, b: V, c: V): V =>
  e.unit.features.relaxed ? op("f32x4.relaxed_madd", a, b, c) : op("f32x4.add", op("f32x4.mul", a, b), c)

/** `a` where the lanes of the mask are ones, `b` where they are zeros. */
export const choose = (e: Emitter, a: V, b: V, mask: V): V =>
  op(e.unit.features.relaxed ? "i32x4.relaxed_laneselect" : "v128.bitselect", a, b, mask)

/** A polynomial, the highest coefficient first. */
const polynomial = (e: Emitter, x: V, coefficients: ReadonlyArray<number>): V =>
  coefficients
    .slice(1)
    .reduce<V>((sum, c) => e.bind(madd(e, sum, x, splatF32(c))), splatF32(coefficients[0] as number))

/** (2^x - 1) / x on [-1/2, 1/2], by interpolation at Chebyshev points: 2^x is off by 0.16 units of 2^-24. */
const exp2Terms = [
  1.5453163359779865e-4, 1.3390863314270973e-3, 9.618083015084267e-3, 5.5503569543361664e-2,
  2.4022650718688965e-1, 6.931471824645996e-1
]
/** (e^x - 1) / x on [-ln 2 / 2, ln 2 / 2]. */
const expTerms = [
  1.3933641603216529e-3, 8.369148708879948e-3, 4.166646674275398e-2, 1.6666504740715027e-1, 0.5, 1
]

/** 1.5 * 2^23 and the bias of exponents: added and taken away it rounds to a whole number n, and its low bits are then those of 2^n. */
const magic = 12582912 + 127

/** 2^x for x of at most 0, without a call: at most 2 units in the last place off, and 0 below -126.5. NaN stays NaN, whatever its bits. */
export const exp2Below = (e: Emitter, x: V): V => {
  const clamped = e.bind(op("f32x4.pmax", x, splatF32(-127)))
  const shifted = e.bind(op("f32x4.add", clamped, splatF32(magic)))
  const rest = e.bind(op("f32x4.sub", clamped, op("f32x4.sub", shifted, splatF32(magic))))
  const power = e.bind(madd(e, polynomial(e, rest, exp2Terms), rest, splatF32(1)))
  return e.bind(op("f32x4.mul", power, op("i32x4.shl", shifted, i32(23))))
}

/** x * 2^n in two steps, so that results may be subnormal. */
const scale = (e: Emitter, x: V, n: V): V => {
  const half = e.bind(op("i32x4.shr_s", n, i32(1)))
  const power = (k: V): V => op("i32x4.shl", op("i32x4.add", k, splat(127)), i32(23))
  return e.bind(op("f32x4.mul", op("f32x4.mul", x, power(half)), power(op("i32x4.sub", n, half))))
}

const clamp = (e: Emitter, x: V, low: number, high: number): V =>
  e.bind(op("f32x4.pmin", op("f32x4.pmax", x, splatF32(low)), splatF32(high)))

export const exp2 = (e: Emitter, x: V): V => {
  const clamped = clamp(e, x, -160, 130)
  const whole = e.bind(op("f32x4.nearest", clamped))
  const rest = e.bind(op("f32x4.sub", clamped, whole))
  const power = e.bind(madd(e, polynomial(e, rest, exp2Terms), rest, splatF32(1)))
  return scale(e, power, e.bind(op("i32x4.trunc_sat_f32x4_s", whole)))
}

export const exp = (e: Emitter, x: V): V => {
  const clamped = clamp(e, x, -110, 90)
  const whole = e.bind(op("f32x4.nearest", op("f32x4.mul", clamped, splatF32(Math.LOG2E))))
  const coarse = e.bind(op("f32x4.sub", clamped, op("f32x4.mul", whole, splatF32(0.693359375))))
  const rest = e.bind(op("f32x4.sub", coarse, op("f32x4.mul", whole, splatF32(-2.1219444e-4))))
  const power = e.bind(madd(e, polynomial(e, rest, expTerms), rest, splatF32(1)))
  return scale(e, power, e.bind(op("i32x4.trunc_sat_f32x4_s", whole)))
}

/** Cephes logf. */
const logTerms = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1
]

export const log = (e: Emitter, x: V): V => {
  const tiny = e.bind(op("f32x4.lt", x, splatF32(2 ** -126)))
  const normal = e.bind(op("v128.bitselect", op("f32x4.mul", x, splatF32(2 ** 23)), x, tiny))
  // The mantissa from √½ to √2, and the exponent that goes with it.
  const lifted = e.bind(op("i32x4.add", normal, splat(0x3f800000 - 0x3f3504f3)))
  const whole = op("i32x4.sub", op("i32x4.shr_u", lifted, i32(23)), splat(127))
  const exponent = e.bind(
    op("f32x4.sub", op("f32x4.convert_i32x4_s", whole), op("v128.and", tiny, splatF32(23)))
  )
  const mantissa = op("i32x4.add", op("v128.and", lifted, splat(0x7fffff)), splat(0x3f3504f3))
  const f = e.bind(op("f32x4.sub", mantissa, splatF32(1)))
  const square = e.bind(op("f32x4.mul", f, f))
  const cubic = e.bind(op("f32x4.mul", op("f32x4.mul", polynomial(e, f, logTerms), f), square))
  const low = e.bind(madd(e, exponent, splatF32(-2.1219444e-4), cubic))
  const bent = e.bind(madd(e, square, splatF32(-0.5), low))
  const value = madd(e, exponent, splatF32(0.693359375), op("f32x4.add", f, bent))
  // -inf at 0, NaN below, inf and NaN as they are.
  const ordinary = op("v128.and", op("f32x4.gt", x, splatF32(0)), op("f32x4.lt", x, splatF32(Infinity)))
  const atZero = op("v128.bitselect", splatF32(-Infinity), splatF32(NaN), op("f32x4.eq", x, splatF32(0)))
  const beyond = op("v128.bitselect", x, atZero, op("f32x4.gt", x, splatF32(0)))
  return e.bind(op("v128.bitselect", value, beyond, e.bind(ordinary)))
}

/** A function of the host, lane by lane in doubles. Where a branch asks for it, it is called nowhere else. */
export const host =
  (name: ImportName) =>
  (e: Emitter, ...args: ReadonlyArray<V>): V => {
    const wide = (n: number) => (x: V) => op("f64.promote_f32", lane("f32x4.extract_lane", n, x))
    return [0, 1, 2, 3].reduce<V>((all, n) => {
      const value = op("f32.demote_f64", call(e.unit.imported(name), ...args.map(wide(n))))
      return e.now(lane("f32x4.replace_lane", n, all, value))
    }, splat(0))
  }

/** Bits that each step takes of a quotient, so that products are exact in doubles. */
const stepBits = 28

/** Floats whose quotients are that large, in steps: from 2^-149 to 2^128. */
const steps = Math.ceil(277 / stepBits)

/** What is left of x after whole multiples of y, exactly, with the sign of y: a lane after the other, in doubles. */
export const mod = (e: Emitter, x: V, y: V): V =>
  [0, 1, 2, 3].reduce<V>((all, n) => {
    const wide = (v: V) => e.bind(op("f64.promote_f32", lane("f32x4.extract_lane", n, v)))
    const [a, b] = [wide(x), wide(y)]
    const [divisor, rest] = [e.bind(op("f64.abs", b)), e.variable(op("f64.abs", a))]
    const isNear = e.bind(op("f64.lt", rest.value, op("f64.mul", divisor, f64(2 ** stepBits))))
    const first = e.now(select(i32(steps - 1), i32(0), isNear))
    const multiple = e.variable(
      select(divisor, op("f64.mul", divisor, f64(2 ** (stepBits * (steps - 1)))), isNear)
    )
    e.loop(first, i32(steps), 1, () => {
      const whole = op("f64.floor", op("f64.div", rest.value, multiple.value))
      const less = e.now(op("f64.sub", rest.value, op("f64.mul", multiple.value, whole)))
      rest.set(select(rest.value, less, op("f64.lt", rest.value, multiple.value)))
      multiple.set(op("f64.mul", multiple.value, f64(2 ** -stepBits)))
    })
    const [zero, isNegative] = [f64(0), e.bind(op("f64.lt", a, f64(0)))]
    const own = e.now(select(op("f64.neg", rest.value), rest.value, isNegative))
    const isOther = op("i32.ne", isNegative, op("f64.lt", b, zero))
    const turned = op("i32.and", op("f64.ne", own, zero), isOther)
    const value = e.now(select(op("f64.add", own, b), own, turned))
    return e.now(lane("f32x4.replace_lane", n, all, op("f32.demote_f64", value)))
  }, splat(0))

/** The quotient rounded down, of doubles, which hold it. */
export const floorDiv = (e: Emitter, x: V, y: V): V =>
  [0, 1, 2, 3].reduce<V>((all, n) => {
    const wide = (v: V) => op("f64.promote_f32", lane("f32x4.extract_lane", n, v))
    const value = op("f32.demote_f64", op("f64.floor", op("f64.div", wide(x), wide(y))))
    return e.bind(lane("f32x4.replace_lane", n, all, value))
  }, splat(0))

/** The products of so many quarter turns and the first two parts of π/2 are exact. */
const mostQuarters = 2 ** 13

/** Sine or cosine. Angles of more quarter turns than can be taken away exactly, positions of long texts, are the host's. */
const circular =
  (name: "sin" | "cos", turn: number) =>
  (e: Emitter, x: V): V => {
    const most = splatF32(mostQuarters * (Math.PI / 2))
    const isLarge = e.bind(op("f32x4.gt", op("f32x4.abs", x), most))
    const value = e.variable(quadrant(e, x, turn))
    e.branch(op("v128.any_true", isLarge), () =>
      value.set(op("v128.bitselect", host(name)(e, x), value.value, isLarge))
    )
    return e.now(value.value)
  }

export const sin = circular("sin", 0)
export const cos = circular("cos", 1)

/** Sine, or cosine for `turn` 1: reduction by π/2 in three parts (Cody & Waite), then the Cephes polynomials. */
const quadrant = (e: Emitter, x: V, turn: number): V => {
  const k = e.bind(op("f32x4.nearest", op("f32x4.mul", x, splatF32(2 / Math.PI))))
  const minus = (a: V, part: number): V => e.bind(op("f32x4.sub", a, op("f32x4.mul", k, splatF32(part))))
  const d = minus(minus(minus(x, 1.5703125), 4.837512969970703e-4), 7.549789954891882e-8)
  const r = clamp(e, d, -0.8, 0.8)
  const q = e.bind(op("i32x4.add", op("i32x4.trunc_sat_f32x4_s", k), splat(turn)))
  const z = e.bind(op("f32x4.mul", r, r))
  const odd = polynomial(e, z, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1])
  const s = e.bind(madd(e, op("f32x4.mul", odd, z), r, r))
  const even = polynomial(e, z, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2])
  const half = madd(e, splatF32(-0.5), z, splatF32(1))
  const c = e.bind(madd(e, op("f32x4.mul", even, z), z, half))
  const isOdd = op("i32x4.ne", op("v128.and", q, splat(1)), splat(0))
  const sign = op("i32x4.shl", op("v128.and", q, splat(2)), i32(30))
  return e.bind(op("v128.xor", op("v128.bitselect", c, s, isOdd), sign))
}

const magnitude = (x: V): V => op("v128.and", x, splat(0x7fffffff))
const signOf = (x: V): V => op("v128.and", x, splat(0x80000000))

/** Cephes tanhf: an odd polynomial near 0, where the quotient of exponentials loses digits. */
export const tanh = (e: Emitter, x: V): V => {
  const a = e.bind(magnitude(x))
  const z = e.bind(op("f32x4.mul", x, x))
  const p = polynomial(
    e,
    z,
    [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1]
  )
  const near = madd(e, op("f32x4.mul", p, z), x, x)
  const growth = exp(e, e.bind(op("f32x4.mul", op("f32x4.pmin", a, splatF32(15)), splatF32(2))))
  const far = op("f32x4.sub", splatF32(1), op("f32x4.div", splatF32(2), op("f32x4.add", growth, splatF32(1))))
  return e.bind(op("v128.bitselect", near, op("v128.or", far, signOf(x)), op("f32x4.lt", a, splatF32(0.625))))
}

export const sigmoid = (e: Emitter, x: V): V => {
  const small = exp(e, e.bind(op("f32x4.neg", op("f32x4.abs", x))))
  const top = op("v128.bitselect", splatF32(1), small, op("f32x4.ge", x, splatF32(0)))
  return e.bind(op("f32x4.div", top, op("f32x4.add", splatF32(1), small)))
}

/** Minimax polynomials: x + x p(x²) to 0.93, 1 - exp(-p(|x|)) beyond. */
export const erf = (e: Emitter, x: V): V => {
  const t = e.bind(op("f32x4.pmin", magnitude(x), splatF32(4)))
  const s = e.bind(op("f32x4.mul", t, t))
  const far = polynomial(
    e,
    t,
    [
      -1.7285347e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1,
      -1.28717512e-1
    ]
  )
  const tail = exp(e, e.bind(op("f32x4.sub", op("f32x4.mul", far, t), t)))
  const beyond = op("v128.or", op("f32x4.sub", splatF32(1), tail), signOf(x))
  const near = madd(
    e,
    polynomial(
      e,
      s,
      [-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1]
    ),
    x,
    x
  )
  return e.bind(op("v128.bitselect", near, beyond, op("f32x4.le", t, splatF32(0.927734375))))
}
