import type { FloatDType } from "../../ir/DType.ts"
import * as Tensor from "../Tensor.ts"
import * as Initialiser from "./Initialiser.ts"
import * as Layer from "./Layer.ts"
import * as Params from "./Params.ts"

/** Shapes: V words, F features, … any axes. */
export interface EmbeddingConfig {
  readonly words: number
  readonly features: number
  readonly dtype?: FloatDType | undefined
  readonly init?: Initialiser.Initialiser | undefined
}

export type EmbeddingParams = {
  readonly weight: Params.Param
}

/** Rows of a table: words i32 [...] to [..., F]; weight [V, F]. */
export const embedding = ({
  words,
  features,
  dtype = "f32",
  init = Initialiser.normal(1)
}: EmbeddingConfig): Layer.Layer<EmbeddingParams, Tensor.Tensor, Tensor.Tensor> =>
  Layer.make({ weight: Params.param(dtype, [words, features], init) }, ({ weight }, x: Tensor.Tensor) =>
    Tensor.take(weight as Tensor.Tensor, x as never, 0)
  )

/** Logits of words by the same table, as tied models do: x [..., F] to [..., V]. */
export const unembed = (weight: Tensor.Tensor, x: Tensor.Tensor): Tensor.Tensor =>
  Tensor.matmul(x, Tensor.transpose(weight)) as Tensor.Tensor
