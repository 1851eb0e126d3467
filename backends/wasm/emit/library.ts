import { type Expr, get, i32, type Local, lane, op, splat, splatF32 } from "../assembler/Instruction.ts"
import type { Func } from "../assembler/Module.ts"
import * as Emitter from "./Emitter.ts"
import * as M from "./math.ts"
import * as F64 from "./mathF64.ts"
import type { Unit } from "./Unit.ts"

type V = Expr<"v128">
type D = Expr<"v256">

/** Functions of the host's `Math`, by the names of their arguments: what is rare and hard to approximate. */
export const imports = { pow: ["x", "y"], sin: ["x"], cos: ["x"] } as const

export type ImportName = keyof typeof imports

/** Functions on vectors that kernels call: what is too long to stand in each of them. */
export type HelperName =
  | "exp"
  | "exp2"
  | "log"
  | "sin"
  | "cos"
  | "tanh"
  | "erf"
  | "sigmoid"
  | "pow"
  | "floor_div"
  | "mod"
  | "f16_bits"
  | "bf16_bits"
  | "floor_div_i32"
  | "floor_div_u32"
  | "mod_i32"
  | "mod_u32"
  | "threefry"

type Make = (unit: Unit, name: string) => Func

const of =
  <T extends "v128" | "v256">(type: T) =>
  (count: number, body: (e: Emitter.Emitter, ...args: ReadonlyArray<Expr<T>>) => Expr<T>): Make =>
  (unit, name) => {
    const params = Array.from({ length: count }, (_, i): Local<T> => ({ type, name: `p${i}` }))
    const e = Emitter.make(unit, params, () => i32(0))
    const result = body(e, ...params.map(get))
    return { name, exported: false, params, result, body: e.statements() }
  }

const vector = of("v128")
const doubles = of("v256")

/** A function of lanes, one after the other. */
const perLane = (e: Emitter.Emitter, x: V, y: V, f: (x: Expr<"i32">, y: Expr<"i32">) => Expr<"i32">): V =>
  [0, 1, 2, 3].reduce<V>((all, n) => {
    const value = f(e.bind(lane("i32x4.extract_lane", n, x)), e.bind(lane("i32x4.extract_lane", n, y)))
    return e.bind(lane("i32x4.replace_lane", n, all, value))
  }, splat(0))

/** Quotient rounded down; 0 where the divisor is 0. The least integer divided by -1 is itself. */
export const floorDiv = (e: Emitter.Emitter, x: Expr<"i32">, y: Expr<"i32">): Expr<"i32"> => {
  const zero = e.bind(op("i32.eqz", y))
  const negative = e.bind(op("i32.eq", y, i32(-1)))
  // Divisors that would trap are replaced, and their quotients put in afterwards.
  const safe = e.bind(
    op("i32.or", op("i32.and", y, op("i32.sub", negative, i32(1))), op("i32.or", zero, negative))
  )
  const q = e.bind(op("i32.div_s", x, safe))
  const inexact = op("i32.ne", op("i32.mul", q, safe), x)
  const opposite = op("i32.shr_u", op("i32.xor", x, safe), i32(31))
  const floored = e.bind(op("i32.sub", q, op("i32.and", inexact, opposite)))
  const keep = op("i32.sub", zero, i32(1))
  const signed = op(
    "i32.sub",
    op("i32.xor", floored, op("i32.sub", i32(0), negative)),
    op("i32.sub", i32(0), negative)
  )
  return e.bind(op("i32.and", signed, keep))
}

export const floorDivUnsigned = (e: Emitter.Emitter, x: Expr<"i32">, y: Expr<"i32">): Expr<"i32"> => {
  const zero = e.bind(op("i32.eqz", y))
  return e.bind(op("i32.and", op("i32.div_u", x, op("i32.or", y, zero)), op("i32.sub", zero, i32(1))))
}

/** What is left after `floorDiv`; 0 where the divisor is 0. */
export const modulo =
  (divide: typeof floorDiv) =>
  (e: Emitter.Emitter, x: Expr<"i32">, y: Expr<"i32">): Expr<"i32"> => {
    const rest = op("i32.sub", x, op("i32.mul", divide(e, x, y), y))
    return e.bind(op("i32.and", rest, op("i32.sub", op("i32.eqz", y), i32(1))))
  }

const integer = (f: typeof floorDiv): Make =>
  vector(2, (e, x, y) => perLane(e, x as V, y as V, (a, b) => f(e, a, b)))

const rotations = [
  [13, 15, 26, 6],
  [17, 29, 16, 24]
] as const

export const helpers: { readonly [K in HelperName]: Make } = {
  exp: vector(1, (e, x) => M.exp(e, x as V)),
  exp2: vector(1, (e, x) => M.exp2(e, x as V)),
  log: vector(1, (e, x) => M.log(e, x as V)),
  sin: vector(1, (e, x) => M.sin(e, x as V)),
  cos: vector(1, (e, x) => M.cos(e, x as V)),
  tanh: vector(1, (e, x) => M.tanh(e, x as V)),
  erf: vector(1, (e, x) => M.erf(e, x as V)),
  sigmoid: vector(1, (e, x) => M.sigmoid(e, x as V)),
  pow: vector(2, M.host("pow")),
  floor_div: vector(2, (e, x, y) => M.floorDiv(e, x as V, y as V)),
  mod: vector(2, (e, x, y) => M.mod(e, x as V, y as V)),
  // To nearest even. Below the normal numbers, 0.5 has the unit of the subnormal ones.
  f16_bits: vector(1, (e, x) => {
    const a = e.bind(op("v128.and", x as V, splat(0x7fffffff)))
    const sign = op("v128.and", op("i32x4.shr_u", x as V, i32(16)), splat(0x8000))
    const odd = op("v128.and", op("i32x4.shr_u", a, i32(13)), splat(1))
    const normal = op(
      "i32x4.shr_u",
      op("i32x4.add", op("i32x4.add", a, splat(0xfff - 0x38000000)), odd),
      i32(13)
    )
    const small = op("i32x4.sub", op("f32x4.add", a, splatF32(0.5)), splatF32(0.5))
    const finite = op("v128.bitselect", small, normal, op("i32x4.lt_s", a, splat(0x38800000)))
    const large = op("v128.bitselect", splat(0x7c00), finite, op("i32x4.ge_s", a, splat(0x477ff000)))
    const all = op("v128.bitselect", splat(0x7e00), large, op("i32x4.gt_s", a, splat(0x7f800000)))
    return e.bind(op("v128.or", sign, all))
  }),
  bf16_bits: vector(1, (e, x) => {
    const upper = e.bind(op("i32x4.shr_u", x as V, i32(16)))
    const odd = op("v128.and", upper, splat(1))
    const rounded = op("i32x4.shr_u", op("i32x4.add", op("i32x4.add", x as V, splat(0x7fff)), odd), i32(16))
    const nan = op("f32x4.ne", x as V, x as V)
    return e.bind(op("v128.bitselect", op("v128.or", upper, splat(0x40)), rounded, nan))
  }),
  floor_div_i32: integer(floorDiv),
  floor_div_u32: integer(floorDivUnsigned),
  mod_i32: integer(modulo(floorDiv)),
  mod_u32: integer(modulo(floorDivUnsigned)),
  // Salmon et al. 2011, Threefry-2x32 with 20 rounds; key (seed, 0), counter (index, 0).
  threefry: vector(2, (e, seed, index) => {
    const keys = [seed as V, splat(0), e.bind(op("v128.xor", seed as V, splat(0x1bd11bda)))] as const
    let [x, y]: [V, V] = [e.bind(op("i32x4.add", index as V, keys[0])), keys[1]]
    for (let block = 0; block < 5; block++) {
      for (const r of rotations[block % 2 === 0 ? 0 : 1] as ReadonlyArray<number>) {
        x = e.bind(op("i32x4.add", x, y))
        const turned = op("v128.or", op("i32x4.shl", y, i32(r)), op("i32x4.shr_u", y, i32(32 - r)))
        y = e.bind(op("v128.xor", turned, x))
      }
      x = e.bind(op("i32x4.add", x, keys[(block + 1) % 3] as V))
      y = e.bind(op("i32x4.add", op("i32x4.add", y, keys[(block + 2) % 3] as V), splat(block + 1)))
    }
    return x
  })
}

/** Functions on vectors of doubles. */
export const helpersF64 = {
  exp: doubles(1, (e, x) => F64.exp(e, x as D)),
  exp2: doubles(1, (e, x) => F64.exp2(e, x as D)),
  log: doubles(1, (e, x) => F64.log(e, x as D)),
  sin: doubles(1, F64.host("sin")),
  cos: doubles(1, F64.host("cos")),
  tanh: doubles(1, (e, x) => F64.tanh(e, x as D)),
  erf: doubles(1, (e, x) => F64.erf(e, x as D)),
  sigmoid: doubles(1, (e, x) => F64.sigmoid(e, x as D)),
  pow: doubles(2, F64.host("pow")),
  floor_div: doubles(2, (_, x, y) => F64.floorDiv(x as D, y as D)),
  mod: doubles(2, (e, x, y) => F64.mod(e, x as D, y as D))
} as const satisfies { readonly [name: string]: Make }

export type HelperF64 = keyof typeof helpersF64
