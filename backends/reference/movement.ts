import * as Dim from "../../ir/Dim.ts"
import * as Scalar from "../../ir/Scalar.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Addresses from "./addresses.ts"
import type { Kernels } from "./Kernel.ts"
import type { Value } from "./Value.ts"

/** Writes a row-major block into a row-major tensor of another shape, its corner at `corner`. */
const place = (
  block: Value,
  corner: ReadonlyArray<number>,
  shape: ReadonlyArray<number>,
  into: Float64Array
): void => {
  const strides = Shape.strides(shape)
  const base = corner.reduce((sum, at, axis) => sum + at * (strides[axis] as number), 0)
  Addresses.addresses(block.shape, strides, base).forEach((at, i) => {
    into[at] = block.data[i] as number
  })
}

/** Elements that move, repeat or disappear. */
export const movement: Kernels<"reshape" | "transpose" | "broadcast" | "slice" | "concat" | "pad"> = {
  reshape: (_node, [x]) => (x as Value).data,
  transpose: ({ attrs }, [x]) => {
    const { data, shape } = x as Value
    return Addresses.read(data, Addresses.alongAxes(shape, attrs.perm))
  },
  broadcast: (_node, [x], shape) => {
    const { data, shape: from } = x as Value
    return Addresses.read(data, Addresses.addresses(shape, Addresses.broadcastStrides(from, shape)))
  },
  slice: ({ attrs }, [x], shape, { sizes }) => {
    const { data, shape: from } = x as Value
    const strides = Shape.strides(from)
    const base = attrs.starts.reduce(
      (sum, start, a) => sum + Dim.evaluate(start, sizes) * (strides[a] as number),
      0
    )
    const stepped = strides.map((stride, a) => stride * (attrs.steps[a] as number))
    return Addresses.read(data, Addresses.addresses(shape, stepped, base))
  },
  concat: ({ attrs }, parts, shape) => {
    const result = new Float64Array(shape.reduce((a, b) => a * b, 1))
    let offset = 0
    for (const part of parts) {
      const at = offset
      place(
        part,
        shape.map((_, axis) => (axis === attrs.axis ? at : 0)),
        shape,
        result
      )
      offset += part.shape[attrs.axis] as number
    }
    return result
  },
  pad: ({ attrs, type }, [x], shape, { sizes }) => {
    const result = new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(
      Scalar.wrap[type.dtype](attrs.value)
    )
    place(
      x as Value,
      attrs.low.map((low) => Dim.evaluate(low, sizes)),
      shape,
      result
    )
    return result
  }
}
