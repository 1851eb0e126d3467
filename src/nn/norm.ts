import type { FloatDType } from "../../ir/DType.ts"
import * as Tensor from "../Tensor.ts"
import * as Initialiser from "./Initialiser.ts"
import * as Layer from "./Layer.ts"
import * as Params from "./Params.ts"

/** Shapes: F features, the last axis. */
export interface NormConfig {
  readonly features: number
  /** Added to the variance or the mean square. */
  readonly epsilon?: number | undefined
  readonly bias?: boolean | undefined
  /** Added to the gain, which then starts at 0: Gemma's 1. */
  readonly offset?: number | undefined
  readonly dtype?: FloatDType | undefined
}

export type NormParams = {
  readonly weight: Params.Param
  readonly bias: Params.Param | undefined
}

type Norm = Layer.Layer<NormParams, Tensor.Tensor, Tensor.Tensor>

const norm = (
  config: NormConfig,
  bias: boolean,
  normalise: (
    x: Tensor.Tensor,
    options: { gain: Tensor.Tensor; bias?: Tensor.Tensor; epsilon?: number }
  ) => Tensor.Tensor
): Norm => {
  const { features, epsilon, offset = 0, dtype = "f32" } = config
  const params: NormParams = {
    weight: Params.param(dtype, [features], Initialiser.constant(1 - offset)),
    bias: bias ? Params.param(dtype, [features], Initialiser.zeros) : undefined
  }
  return Layer.make(params, (p, x: Tensor.Tensor) =>
    normalise(x, {
      gain: (offset === 0 ? p.weight : Tensor.add(p.weight as Tensor.Tensor, offset)) as Tensor.Tensor,
      ...(p.bias === undefined ? {} : { bias: p.bias as Tensor.Tensor }),
      ...(epsilon === undefined ? {} : { epsilon })
    })
  )
}

/** Ba, Kiros & Hinton 2016, arXiv 1607.06450; epsilon 1e-5 and a bias unless told otherwise. */
export const layerNorm = (config: NormConfig): Norm =>
  norm(config, config.bias ?? true, (x, options) => Tensor.layerNorm(x, options) as Tensor.Tensor)

/** Zhang & Sennrich 2019, arXiv 1910.07467; epsilon 1e-5 and no bias unless told otherwise. */
export const rmsNorm = (config: NormConfig): Norm =>
  norm(config, config.bias ?? false, (x, options) => Tensor.rmsNorm(x, options) as Tensor.Tensor)
