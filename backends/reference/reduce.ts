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
const times = (dtype: DType.DType) =>
  DType.isInt(dtype) ? Math.imul : (a: number, b: number): number => a * b

/** Many elements to one, accumulated in float64. */
export const reduce: Kernels<
  "reduce_sum" | "reduce_prod" | "reduce_max" | "reduce_min" | "argmax" | "cumsum"
> = {
  reduce_sum: ({ attrs }, [x]) => fold(x as Value, attrs.axes, 0, plus((x as Value).dtype)),
  reduce_prod: ({ attrs }, [x]) => fold(x as Value, attrs.axes, 1, times((x as Value).dtype)),
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
