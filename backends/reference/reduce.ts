import * as DType from "../../ir/DType.ts"
import * as Scalar from "../../ir/Scalar.ts"
import * as Addresses from "./addresses.ts"
import type { Kernels } from "./Kernel.ts"
import type { Value } from "./Value.ts"

/** Combines the elements of each row, from `start` on. */
const fold = (
  x: Value,
  axes: ReadonlyArray<number>,
  start: number,
  combine: (sum: number, element: number) => number
): Float64Array => {
  const { starts, steps } = Addresses.rows(x.shape, axes)
  const result = new Float64Array(starts.length)
  for (let r = 0; r < starts.length; r++) {
    const base = starts[r] as number
    let sum = start
    for (let k = 0; k < steps.length; k++) sum = combine(sum, x.data[base + (steps[k] as number)] as number)
    result[r] = sum
  }
  return result
}

/** Integer sums and products wrap at every step, so that they stay exact. */
const plus = (dtype: DType.DType) =>
  DType.isInt(dtype) ? (a: number, b: number): number => (a + b) | 0 : (a: number, b: number): number => a + b

/** 2^512, and bounds that two factors within them stay far from the ends of what doubles hold. */
const [step, most, least] = [2 ** 512, 2 ** 256, 2 ** -256]

/** The product of floats, of which no part overflows or underflows on the way: as if exponents had no bounds. */
const product = (x: Value, axes: ReadonlyArray<number>): Float64Array => {
  const { starts, steps } = Addresses.rows(x.shape, axes)
  return Float64Array.from(starts, (base) => {
    let turns = 0
    const near = (a: number): number => {
      const [down, up] = [Math.abs(a) > most, Math.abs(a) < least]
      turns += down ? 1 : up ? -1 : 0
      return down ? a / step : up ? a * step : a
    }
    let result = 1
    for (const k of steps) result = near(result * near(near(x.data[base + k] as number)))
    for (let n = 1; n <= 3; n++) result *= turns >= n ? step : turns <= -n ? 1 / step : 1
    return result
  })
}

/** Many elements to one, accumulated in float64. */
export const reduce: Kernels<
  "reduce_sum" | "reduce_prod" | "reduce_max" | "reduce_min" | "argmax" | "cumsum"
> = {
  reduce_sum: ({ attrs }, [x]) => fold(x as Value, attrs.axes, 0, plus((x as Value).dtype)),
  reduce_prod: ({ attrs }, [operand]) => {
    const x = operand as Value
    return DType.isInt(x.dtype) ? fold(x, attrs.axes, 1, Math.imul) : product(x, attrs.axes)
  },
  reduce_max: ({ attrs }, [x]) => fold(x as Value, attrs.axes, Scalar.least[(x as Value).dtype], Math.max),
  reduce_min: ({ attrs }, [x]) => fold(x as Value, attrs.axes, Scalar.greatest[(x as Value).dtype], Math.min),
  argmax: ({ attrs }, [operand]) => {
    const x = operand as Value
    const { starts, steps } = Addresses.rows(x.shape, [attrs.axis])
    return Float64Array.from(starts, (base) => {
      let best = 0
      for (let k = 1; k < steps.length; k++) {
        const candidate = x.data[base + (steps[k] as number)] as number
        if (candidate > (x.data[base + (steps[best] as number)] as number)) best = k
      }
      return best
    })
  },
  cumsum: ({ attrs }, [operand]) => {
    const x = operand as Value
    const add = plus(x.dtype)
    const { starts, steps } = Addresses.rows(x.shape, [attrs.axis])
    const result = new Float64Array(x.data.length)
    for (const base of starts) {
      let sum = 0
      for (const step of steps) {
        sum = add(sum, x.data[base + step] as number)
        result[base + step] = sum
      }
    }
    return result
  }
}
