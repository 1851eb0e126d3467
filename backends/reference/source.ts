import * as Dim from "../../ir/Dim.ts"
import * as Scalar from "../../ir/Scalar.ts"
import type { Kernels } from "./Kernel.ts"
import { threefry2x32 } from "./threefry.ts"

const sizeOf = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1)

/** Where values come from. Inputs are given to the evaluator and never computed. */
export const source: Kernels<"constant" | "iota" | "dim" | "random_bits"> = {
  // A constant is data: it has the precision of its dtype even for the oracle.
  constant: ({ attrs, type }, _, shape) => {
    const store = Scalar.wrap[type.dtype]
    const size = sizeOf(shape)
    if (attrs.values.length === size) return Float64Array.from(attrs.values, store)
    return new Float64Array(size).fill(store(attrs.values[0] as number))
  },
  iota: (_node, _, shape) => Float64Array.from({ length: sizeOf(shape) }, (_value, i) => i),
  dim: ({ attrs }, _operands, _shape, { sizes }) => Float64Array.of(Dim.evaluate(attrs.value, sizes)),
  random_bits: (_node, [seed], shape) => {
    const key = seed?.data[0] as number
    return Float64Array.from({ length: sizeOf(shape) }, (_value, i) => threefry2x32([key, 0], [i, 0])[0])
  }
}
