import * as Shape from "../../ir/Shape.ts"
import * as Addresses from "./addresses.ts"
import type { Kernels } from "./Kernel.ts"
import type { Value } from "./Value.ts"

const clamp = (position: number, size: number): number => Math.min(Math.max(position, 0), size - 1)

/** Positions that are data, clamped into their axis. An axis of length 0 has no element to read: the read gives 0. */
export const indexing: Kernels<"gather" | "load" | "update_slice" | "scatter"> = {
  gather: ({ attrs: { axis } }, [operand, indices], shape) => {
    const [x, at] = [operand as Value, indices as Value]
    const size = x.shape[axis] as number
    const result = new Float64Array(shape.reduce((a, b) => a * b, 1))
    if (size === 0) return result
    const inner = x.shape.slice(axis + 1).reduce((a, b) => a * b, 1)
    const outer = x.shape.slice(0, axis).reduce((a, b) => a * b, 1)
    let to = 0
    for (let o = 0; o < outer; o++) {
      for (const index of at.data) {
        const from = (o * size + clamp(index, size)) * inner
        for (let i = 0; i < inner; i++) result[to++] = x.data[from + i] as number
      }
    }
    return result
  },
  load: (_node, [operand, ...positions]) => {
    const x = operand as Value
    const strides = Shape.strides(x.shape)
    const at = positions.reduce(
      (sum, p, axis) => sum + clamp(p.data[0] as number, x.shape[axis] as number) * (strides[axis] as number),
      0
    )
    return Float64Array.of(x.data.length === 0 ? 0 : (x.data[at] as number))
  },
  scatter: (_node, [operand, replacement, ...positions], shape) => {
    const [x, update] = [operand as Value, replacement as Value]
    const result = x.data.slice()
    const strides = Shape.strides(shape)
    const inner = update.shape.slice(1).reduce((a, b) => a * b, 1)
    for (let n = 0; n < (update.shape[0] as number); n++) {
      const place = positions.map((p) => p.data[n] as number)
      if (place.some((p, axis) => p < 0 || p >= (shape[axis] as number))) continue
      const to = place.reduce((sum, p, axis) => sum + p * (strides[axis] as number), 0)
      result.set(update.data.subarray(n * inner, (n + 1) * inner), to)
    }
    return result
  },
  update_slice: ({ attrs: { axis, wrap } }, [operand, replacement, start], shape) => {
    const [x, update, starts] = [operand as Value, replacement as Value, start as Value]
    const result = x.data.slice()
    const size = shape[axis] as number
    const strides = Shape.strides(shape)
    const { starts: from, steps } = Addresses.rows(update.shape, [axis])
    // The same rows, by the strides of x.
    const otherAxes = shape.map((_, a) => a).filter((a) => a !== axis)
    const to = Addresses.addresses(
      otherAxes.map((a) => shape[a] as number),
      otherAxes.map((a) => strides[a] as number)
    )
    const perEntry =
      shape.length > 0 && starts.shape.length === 1 ? from.length / (shape[0] as number) : Infinity
    for (let r = 0; r < from.length; r++) {
      const first = starts.data[perEntry === Infinity ? 0 : Math.floor(r / perEntry)] as number
      for (let k = 0; k < steps.length; k++) {
        const position = wrap ? (((first + k) % size) + size) % size : first + k
        if (position < 0 || position >= size) continue
        result[(to[r] as number) + position * (strides[axis] as number)] = update.data[
          (from[r] as number) + (steps[k] as number)
        ] as number
      }
    }
    return result
  }
}
