import type { Plan } from "../../backends/Backend.ts"
import type { Bindings } from "../../ir/Dim.ts"
import type { DType } from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"
import * as arrays from "./arrays.ts"
import { graphOf } from "./evaluate.ts"
import { fused } from "./irText.ts"
import { inPlaceOf } from "./plans.ts"

/** A kernel that writes into its first input where that is given away, and a call of it. */
export interface Donated {
  readonly plan: Plan
  readonly values: readonly [HostArray.HostArray, ...ReadonlyArray<HostArray.HostArray>]
  readonly sizes: Bindings
}

/** Rows as they are given, or negated on their way: a line, if any, and their name. */
const rows = (isNegated: boolean, type: string): readonly [ReadonlyArray<string>, string] =>
  isNegated ? [[`%n: ${type} = neg %new`], "%n"] : [[], "%new"]

/** Rows written into caches: in the middle, at the front and beyond the end. */
export const cacheUpdate = (d: DType, wrap: boolean, isNegated = false): Donated => {
  const from = arrays.random(2)
  const [before, row] = rows(isNegated, `${d}[B, T, 3]`)
  const text = fused(
    [
      ["cache", `${d}[B, C, 3]`],
      ["new", `${d}[B, T, 3]`],
      ["start", "i32[B]"]
    ],
    `${d}[B, C, 3]`,
    [...before, `%u: ${d}[B, C, 3] = update_slice %cache, ${row}, %start {axis = 1, wrap = ${wrap}}`],
    "u"
  )
  return {
    plan: inPlaceOf(graphOf(text)),
    values: [
      arrays.array(from, d, [3, 5, 3]),
      arrays.array(from, d, [3, 3, 3]),
      HostArray.fromNumbers("i32", [3], [-1, 1, 4])
    ],
    sizes: { B: 3, C: 5, T: 3 }
  }
}

/** Rows scattered over pages; three are outside. */
export const scattered = (d: DType, isNegated = false): Donated => {
  const from = arrays.random(2)
  const [before, row] = rows(isNegated, `${d}[N, 3]`)
  const text = fused(
    [
      ["pool", `${d}[P, R, 3]`],
      ["new", `${d}[N, 3]`],
      ["page", "i32[N]"],
      ["row", "i32[N]"]
    ],
    `${d}[P, R, 3]`,
    [...before, `%s: ${d}[P, R, 3] = scatter %pool, ${row}, %page, %row`],
    "s"
  )
  return {
    plan: inPlaceOf(graphOf(text)),
    values: [
      arrays.array(from, d, [3, 5, 3]),
      arrays.array(from, d, [6, 3]),
      HostArray.fromNumbers("i32", [6], [2, 0, 3, 2, -1, 1]),
      HostArray.fromNumbers("i32", [6], [1, 4, 0, 0, 2, 5])
    ],
    sizes: { P: 3, R: 5, N: 6 }
  }
}
