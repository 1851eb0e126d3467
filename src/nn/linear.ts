import type { FloatDType } from "../../ir/DType.ts"
import * as Tensor from "../Tensor.ts"
import * as Initialiser from "./Initialiser.ts"
import * as Layer from "./Layer.ts"
import * as Params from "./Params.ts"

/** Shapes: I features in, O features out, … any axes. */
export interface LinearConfig {
  readonly in: number
  readonly out: number
  /** Added to the result; there is one unless told otherwise. */
  readonly bias?: boolean | undefined
  readonly dtype?: FloatDType | undefined
  /** PyTorch's and MLX's, uniform within ±1/√I, unless told otherwise. */
  readonly init?: Initialiser.Initialiser | undefined
  readonly biasInit?: Initialiser.Initialiser | undefined
}

export type LinearParams = {
  readonly weight: Params.Param
  readonly bias: Params.Param | undefined
}

/** `x · weightᵀ + bias`: x [..., I] to [..., O]; weight [O, I], as PyTorch and MLX keep it. */
export const linear = (config: LinearConfig): Layer.Layer<LinearParams, Tensor.Tensor, Tensor.Tensor> => {
  const fan = { in: config.in, out: config.out }
  const dtype = config.dtype ?? "f32"
  const params: LinearParams = {
    weight: Params.param(dtype, [config.out, config.in], config.init ?? Initialiser.fanInUniform(fan)),
    bias:
      config.bias === false
        ? undefined
        : Params.param(dtype, [config.out], config.biasInit ?? Initialiser.fanInUniform(fan))
  }
  return Layer.make(params, ({ weight, bias }, x: Tensor.Tensor) => {
    const product = Tensor.matmul(x, Tensor.transpose(weight as Tensor.Tensor)) as Tensor.Tensor
    return bias === undefined ? product : (Tensor.add(product, bias as Tensor.Tensor) as Tensor.Tensor)
  })
}
