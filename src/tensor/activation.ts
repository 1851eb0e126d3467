import type * as DType from "../../ir/DType.ts"
import type { Dims } from "./dims.ts"
import { add, erf, exp, log, abs as magnitude, maximum, mul, neg, sigmoid, tanh } from "./elementwise.ts"
import { castNode, type Floating, floatNode, wide } from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, isTensor, nodeOf, type Tensor } from "./Tensor.ts"

/** Activation functions, computed in f32 (f64 for f64) and rounded once. Integers become f32. */

type Activation = <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<Floating<D>, S>

/** Runs `f` on the tensor in its accumulator dtype. */
const inWide = (op: string, x: Tensor, f: (x: Tensor) => Tensor): Tensor => {
  const node = floatNode(op, x)
  const result = f(fromNode(castNode(node, wide(node.type.dtype))))
  return fromNode(castNode(nodeOf(result), node.type.dtype))
}

const activation = (op: string, f: (x: Tensor) => Tensor): Activation =>
  Site.located((x: Tensor) => inWide(op, x, f)) as Activation

/** `max(x, 0)`. */
export const relu: Activation = Site.located((x: Tensor) =>
  maximum(fromNode(floatNode("relu", x)), 0)
) as Activation

/** `x * sigmoid(x)`, also called swish. */
export const silu: Activation = activation("silu", (x) => mul(x, sigmoid(x)))

/** `log(1 + exp(x))`, without overflow. */
export const softplus: Activation = activation("softplus", (x) =>
  add(maximum(x, 0), log(add(exp(neg(magnitude(x))), 1)))
)

const exactGelu = (x: Tensor): Tensor => mul(mul(x, 0.5), add(erf(mul(x, Math.SQRT1_2)), 1))

const tanhGelu = (x: Tensor): Tensor => {
  const inner = mul(add(x, mul(mul(mul(x, x), x), 0.044715)), Math.sqrt(2 / Math.PI))
  return mul(mul(x, 0.5), add(tanh(inner), 1))
}

export interface GeluOptions {
  /** `"none"`: x · Φ(x) by the error function; `"tanh"`: its approximation by tanh. */
  readonly approximate?: "none" | "tanh"
}

/** Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv 1606.08415), exact unless told otherwise. */
export const gelu: {
  (options?: GeluOptions): Activation
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>, options: GeluOptions): Tensor<Floating<D>, S>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>): Tensor<Floating<D>, S>
} = Site.dual(
  (args) => isTensor(args[0]),
  (x: Tensor, options?: GeluOptions) =>
    inWide("gelu", x, options?.approximate === "tanh" ? tanhGelu : exactGelu)
)
