import * as Addresses from "./addresses.ts"
import type { Kernels } from "./Kernel.ts"
import type { Value } from "./Value.ts"

/** Copies each row along an axis out, lets `row` rewrite it, and puts it back. */
const eachRow = (x: Value, axis: number, row: (elements: Float64Array) => void): Float64Array => {
  const { starts, steps } = Addresses.rows(x.shape, [axis])
  const result = new Float64Array(x.data.length)
  const elements = new Float64Array(steps.length)
  for (const base of starts) {
    for (let k = 0; k < steps.length; k++) elements[k] = x.data[base + (steps[k] as number)] as number
    row(elements)
    for (let k = 0; k < steps.length; k++) result[base + (steps[k] as number)] = elements[k] as number
  }
  return result
}

/** Math.max over a row without the argument limit of a spread; NaN where any element is. */
export const maximum = (row: Float64Array): number => {
  let max = -Infinity
  for (let k = 0; k < row.length; k++) max = Math.max(max, row[k] as number)
  return max
}

/** exp(x - max) / sum, in place. A row of -inf throughout becomes 0. */
const softmaxRow = (row: Float64Array): void => {
  const max = maximum(row)
  if (max === -Infinity) {
    row.fill(0)
    return
  }
  let sum = 0
  for (let k = 0; k < row.length; k++) {
    const e = Math.exp((row[k] as number) - max)
    row[k] = e
    sum += e
  }
  for (let k = 0; k < row.length; k++) row[k] = (row[k] as number) / sum
}

const mean = (row: Float64Array, of: (x: number) => number): number => {
  let sum = 0
  for (let k = 0; k < row.length; k++) sum += of(row[k] as number)
  return sum / row.length
}

/** Whole rows at once, statistics in float64. */
export const normalise: Kernels<"softmax" | "logsumexp" | "layer_norm" | "rms_norm"> = {
  softmax: ({ attrs }, [x]) => eachRow(x as Value, attrs.axis, softmaxRow),
  logsumexp: ({ attrs }, [operand]) => {
    const x = operand as Value
    const { starts, steps } = Addresses.rows(x.shape, [attrs.axis])
    return Float64Array.from(starts, (base) => {
      const row = Float64Array.from(steps, (step) => x.data[base + step] as number)
      const max = maximum(row)
      if (max === -Infinity || max === Infinity) return max
      let sum = 0
      for (const element of row) sum += Math.exp(element - max)
      return max + Math.log(sum)
    })
  },
  layer_norm: ({ attrs }, [x]) =>
    eachRow(x as Value, attrs.axis, (row) => {
      const centre = mean(row, (e) => e)
      const variance = mean(row, (e) => (e - centre) ** 2)
      const factor = 1 / Math.sqrt(variance + attrs.epsilon)
      for (let k = 0; k < row.length; k++) row[k] = ((row[k] as number) - centre) * factor
    }),
  rms_norm: ({ attrs }, [x]) =>
    eachRow(x as Value, attrs.axis, (row) => {
      const factor = 1 / Math.sqrt(mean(row, (e) => e * e) + attrs.epsilon)
      for (let k = 0; k < row.length; k++) row[k] = (row[k] as number) * factor
    })
}
