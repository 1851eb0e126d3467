import { loadF64, splatF64, storeF64, wide } from "../assembler/doubles.ts"
import {
  call,
  type Expr,
  load,
  op,
  type Statement,
  shuffle,
  splatF32,
  store,
  storeLane
} from "../assembler/Instruction.ts"
import type { Emitter } from "./Emitter.ts"
import type { HelperF64 } from "./library.ts"
import * as M from "./math.ts"
import * as F64 from "./mathF64.ts"
import { isDoubles, type Register } from "./Value.ts"

type V = Expr<"v128">
type D = Expr<"v256">
type R = Register
export type Unary = "abs" | "neg" | "sqrt" | "ceil" | "floor" | "nearest"
export type Binary = "add" | "sub" | "mul" | "div" | "min" | "max" | "pmin" | "pmax"
export type Comparison = "eq" | "ne" | "lt" | "gt" | "le" | "ge"

/** The arithmetic of floats of one size. Conditions are lanes of words for both. */
export interface Real
  extends Readonly<
    Record<Unary, (x: R) => R> & Record<Binary, (x: R, y: R) => R> & Record<Comparison, (x: R, y: R) => V>
  > {
  readonly type: "f32" | "f64"
  /** Bytes of an element. */
  readonly bytes: number
  readonly splat: (x: number) => R
  /** The least finite number. */
  readonly least: number
  /** The square of two numbers within whose bounds products neither overflow nor underflow. */
  readonly step: number
  /** An integer in all lanes. */
  readonly fromInt: (x: Expr<"i32">) => R
  readonly madd: (e: Emitter, a: R, b: R, c: R) => R
  /** e^x for x of at most 0. */
  readonly expBelow: (e: Emitter, x: R) => R
  readonly call: (e: Emitter, name: HelperF64, ...args: ReadonlyArray<R>) => R
}

const unary = ["abs", "neg", "sqrt", "ceil", "floor", "nearest"] as const
const binary = ["add", "sub", "mul", "div", "min", "max", "pmin", "pmax"] as const
const comparisons = ["eq", "ne", "lt", "gt", "le", "ge"] as const

const record = <K extends string, A>(names: ReadonlyArray<K>, make: (name: K) => A): Record<K, A> =>
  Object.fromEntries(names.map((name) => [name, make(name)])) as Record<K, A>

const f32: Real = {
  ...record(unary, (name) => (x: R) => op(`f32x4.${name}`, x as V)),
  ...record(binary, (name) => (x: R, y: R) => op(`f32x4.${name}`, x as V, y as V)),
  ...record(comparisons, (name) => (x: R, y: R) => op(`f32x4.${name}`, x as V, y as V)),
  type: "f32",
  bytes: 4,
  splat: splatF32,
  least: -3.4028234663852886e38,
  step: 2 ** 64,
  fromInt: (x) => op("f32x4.splat", op("f32.convert_i32_s", x)),
  madd: (e, a, b, c) => M.madd(e, a as V, b as V, c as V),
  expBelow: (e, x) => M.exp2Below(e, e.bind(op("f32x4.mul", x as V, splatF32(Math.LOG2E)))),
  call: (e, name, ...args) => call(e.unit.helper(name), ...args)
}

const f64: Real = {
  ...record(unary, (name) => (x: R) => wide(`f64x4.${name}`, x as D)),
  ...record(binary, (name) => (x: R, y: R) => wide(`f64x4.${name}`, x as D, y as D)),
  ...record(comparisons, (name) => (x: R, y: R) => wide(`f64x4.${name}`, x as D, y as D)),
  type: "f64",
  bytes: 8,
  splat: splatF64,
  least: -Number.MAX_VALUE,
  step: 2 ** 512,
  fromInt: (x) => wide("f64x4.splat", op("f64.convert_i32_s", x)),
  madd: (e, a, b, c) => F64.madd(e, a as D, b as D, c as D),
  expBelow: (e, x) => call(e.unit.helperF64("exp"), x),
  call: (e, name, ...args) => call(e.unit.helperF64(name), ...args)
}

export const reals = { f32, f64 } as const

/** `a` where the lanes of the condition are ones, `b` where they are zeros. */
export const where = <T extends R>(condition: V, a: T, b: T): T =>
  (isDoubles(a)
    ? wide("f64x4.select", a, b as Expr as D, condition)
    : op("v128.bitselect", a as Expr as V, b as Expr as V, condition)) as Expr as T

/** All lanes changed places with those `by` further. */
export const swapped = (x: R, by: 1 | 2): R =>
  isDoubles(x) ? wide(`f64x4.swap${by}`, x) : shuffle(x as V, x as V, by === 2 ? [2, 3, 0, 1] : [1, 0, 3, 2])

/** What kernels keep of a value for themselves: where it lies, and all of it or the first lane. */
export const keep = (address: Expr<"i32">, x: R, offset = 0): Statement =>
  isDoubles(x) ? storeF64(address, x, { offset }) : store("v128.store", address, x as V, offset)

export const keepFirst = (address: Expr<"i32">, x: R): Statement =>
  isDoubles(x) ? storeF64(address, x, { lane: 0 }) : storeLane("v128.store32_lane", address, x as V, 0)

/** What has been kept. */
export const kept = (bytes: number, address: Expr<"i32">, offset = 0): R =>
  bytes === 8 ? loadF64("v256.load", address, offset) : load("v128.load", address, offset)
