import * as Shape from "../../ir/Shape.ts"

/**
 * Where the elements of a strided view lie: the offset of every element of `sizes`, in row-major order. A stride of 0 repeats.
 * Movement, broadcasting and contraction are all reading at such addresses.
 */
export const addresses = (
  sizes: ReadonlyArray<number>,
  strides: ReadonlyArray<number>,
  base = 0
): Int32Array => {
  const result = new Int32Array(sizes.reduce((a, b) => a * b, 1))
  if (result.length === 0) return result
  result[0] = base
  let filled = 1
  // The innermost axes are laid down first; each axis further out repeats them at its stride.
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    const [size, stride] = [sizes[axis] as number, strides[axis] as number]
    for (let i = 1; i < size; i++) {
      for (let e = 0; e < filled; e++) result[i * filled + e] = (result[e] as number) + i * stride
    }
    filled *= size
  }
  return result
}

/** Strides with which a row-major operand is read under a result shape it broadcasts to. */
export const broadcastStrides = (
  from: ReadonlyArray<number>,
  to: ReadonlyArray<number>
): ReadonlyArray<number> => {
  const own = Shape.strides(from)
  const missing = to.length - from.length
  return to.map((_, axis) =>
    axis < missing || from[axis - missing] === 1 ? 0 : (own[axis - missing] as number)
  )
}

/** Elements at the given addresses. */
export const read = (data: Float64Array, at: Int32Array): Float64Array => {
  const result = new Float64Array(at.length)
  for (let i = 0; i < at.length; i++) result[i] = data[at[i] as number] as number
  return result
}

/** Addresses of the given axes alone, in their order. */
export const alongAxes = (shape: ReadonlyArray<number>, axes: ReadonlyArray<number>): Int32Array => {
  const strides = Shape.strides(shape)
  return addresses(
    axes.map((a) => shape[a] as number),
    axes.map((a) => strides[a] as number)
  )
}

/** A tensor seen as rows: element `k` of row `r` lies at `starts[r] + steps[k]`. Rows are ordered by the remaining axes. */
export interface Rows {
  readonly starts: Int32Array
  readonly steps: Int32Array
}

export const rows = (shape: ReadonlyArray<number>, axes: ReadonlyArray<number>): Rows => ({
  starts: alongAxes(
    shape,
    shape.map((_, a) => a).filter((a) => !axes.includes(a))
  ),
  steps: alongAxes(shape, axes)
})
