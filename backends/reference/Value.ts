import type * as DType from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"
import * as Scalar from "../../ir/Scalar.ts"

/**
 * A tensor inside the reference: row-major float64 numbers, each one a value of the dtype (float64 holds every value of
 * every dtype). Only the oracle lets float values keep bits that their dtype lacks.
 */
export interface Value {
  readonly dtype: DType.DType
  readonly shape: ReadonlyArray<number>
  readonly data: Float64Array
}

/** "f32": every op's result is rounded to its dtype. "f64": float values stay in float64 until the end, the oracle. */
export type Precision = "f32" | "f64"

export const fromHost = (array: HostArray.HostArray): Value => ({
  dtype: array.dtype,
  shape: array.shape,
  data: HostArray.toNumbers(array)
})

/** Rounds float values to their dtype whatever the precision: a result that leaves is of its dtype. */
export const toHost = ({ dtype, shape, data }: Value): HostArray.HostArray =>
  HostArray.fromNumbers(dtype, shape, data)

/** How one result is stored: what `settle` does, on one number. */
export const storing = (dtype: DType.DType, precision: Precision): ((x: number) => number) =>
  precision === "f64" && (dtype === "f32" || dtype === "f16" || dtype === "bf16")
    ? (x) => x
    : Scalar.wrap[dtype]

/** Turns raw float64 results into values of the dtype, in place. */
export const settle = (data: Float64Array, dtype: DType.DType, precision: Precision): Float64Array => {
  if (dtype === "f64" || dtype === "bool") return data
  if (dtype === "f32") {
    if (precision === "f32") for (let i = 0; i < data.length; i++) data[i] = Math.fround(data[i] as number)
    return data
  }
  const store = storing(dtype, precision)
  for (let i = 0; i < data.length; i++) data[i] = store(data[i] as number)
  return data
}
