import * as Attr from "../Attr.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import type { TensorType } from "../TensorType.ts"

/** Whole rows at once. Statistics are float32 whatever the dtype (float64 for f64); the result is rounded once. */

const alongAxis = (op: string, operands: ReadonlyArray<TensorType>, axis: number): TensorType => {
  const x = operands[0] as TensorType
  Infer.requireDomain(op, operands, x.dtype, "float")
  Infer.axis(op, axis, x.shape.length)
  return x
}

export const softmax = Op.define("softmax", {
  family: "normalise",
  summary: "exp(x - max) / sum of it along an axis; a row that is -inf throughout gives 0.",
  example: `%0: f32[T, S] = input {name = "x"}\n%1: f32[T, S] = softmax %0 {axis = 1}`,
  operands: ["x"],
  attrs: { axis: Attr.int },
  infer: (operands, { axis }) => ({ type: alongAxis("softmax", operands, axis) })
})

export const logsumexp = Op.define("logsumexp", {
  family: "normalise",
  summary: "log of the sum of exp(x) along an axis, which disappears; -inf over nothing.",
  example: `%0: f32[T, S] = input {name = "x"}\n%1: f32[T] = logsumexp %0 {axis = 1}`,
  operands: ["x"],
  attrs: { axis: Attr.int },
  infer: (operands, { axis }) => {
    const x = alongAxis("logsumexp", operands, axis)
    return { type: { dtype: x.dtype, shape: Infer.without(x.shape, [axis]) } }
  }
})

const norm = <const Name extends string>(name: Name, summary: string) =>
  Op.define(name, {
    family: "normalise",
    summary,
    example: `%0: f32[T, 64] = input {name = "x"}\n%1: f32[T, 64] = ${name} %0 {axis = 1, epsilon = 0.00001}`,
    operands: ["x"],
    attrs: { axis: Attr.int, epsilon: Attr.number },
    infer: (operands, { axis, epsilon }) => {
      if (!(epsilon >= 0 && epsilon < Infinity))
        throw Infer.attrError(name, `epsilon ${epsilon} is not a finite number of 0 or more`)
      return { type: alongAxis(name, operands, axis) }
    }
  })

/** Ba, Kiros & Hinton 2016, arXiv 1607.06450, without gain and bias. */
export const layerNorm = norm(
  "layer_norm",
  "(x - mean) / sqrt(variance + epsilon) along an axis, the variance over n."
)

/** Zhang & Sennrich 2019, arXiv 1910.07467, without gain. */
export const rmsNorm = norm("rms_norm", "x / sqrt(mean of x² + epsilon) along an axis.")
