import type { DType } from "../../../ir/DType.ts"
import { laneF64, splatF64, withLaneF64 } from "../assembler/doubles.ts"
import { type Expr, op, shuffle, splat } from "../assembler/Instruction.ts"
import type { Emitter } from "../emit/Emitter.ts"
import { reals } from "../emit/real.ts"
import { compute, isReal } from "../emit/scalar.ts"
import type { Register } from "../emit/Value.ts"
import { across } from "./rowOps.ts"

type V = Expr<"v128">
type R = Register

/** How elements of a product are computed, and how many bytes they take. */
export interface Arithmetic {
  readonly bytes: 4 | 8
  readonly zero: R
  readonly multiplyAdd: (e: Emitter, a: R, b: R, sum: R) => R
  readonly plus: (a: R, b: R) => R
  /** The sums of the lanes of four vectors. */
  readonly totals: (e: Emitter, four: ReadonlyArray<R>) => R
}

export const arithmetic = (dtype: DType): Arithmetic => {
  const type = compute(dtype)
  const real = isReal(type) ? reals[type] : undefined
  const plus = (a: R, b: R): R => real?.add(a, b) ?? op("i32x4.add", a as V, b as V)
  const halves = (e: Emitter, x: V, y: V): V =>
    e.now(plus(shuffle(x, y, [0, 4, 1, 5]), shuffle(x, y, [2, 6, 3, 7])) as V)
  return {
    bytes: type === "f64" ? 8 : 4,
    zero: real?.splat(0) ?? splat(0),
    multiplyAdd: (e, a, b, sum) =>
      real?.madd(e, a, b, sum) ?? op("i32x4.add", op("i32x4.mul", a as V, b as V), sum as V),
    plus,
    totals: (e, four) => {
      if (type === "f64") {
        return four.reduce<Expr<"v256">>(
          (all, x, n) => e.now(withLaneF64(n, all, laneF64(0, across(e, x as Expr<"v256">, plus as never)))),
          splatF64(0)
        )
      }
      const [a, b, c, d] = four as ReadonlyArray<V> as readonly [V, V, V, V]
      const [ab, cd] = [halves(e, a, b), halves(e, c, d)]
      return e.now(plus(shuffle(ab, cd, [0, 1, 4, 5]), shuffle(ab, cd, [2, 3, 6, 7])))
    }
  }
}
