import type { FloatDType } from "../../../ir/DType.ts"
import * as DType from "../../../ir/DType.ts"
import { AttrError } from "../../errors.ts"
import type * as Mask from "../../Mask.ts"
import * as Tensor from "../../Tensor.ts"
import { attention } from "../attention.ts"
import * as Initialiser from "../Initialiser.ts"
import * as Layer from "../Layer.ts"
import type { LinearParams } from "../linear.ts"
import type * as Params from "../Params.ts"
import * as Face from "./options.ts"

/** `mlx.nn.MultiHeadAttention` (MLX 0.32): its options, defaults (no bias), parameter names and errors. */
export interface Options {
  readonly queryInputDims?: number
  readonly keyInputDims?: number
  /** As many as the keys have unless told otherwise. */
  readonly valueInputDims?: number
  readonly valueDims?: number
  readonly valueOutputDims?: number
  readonly bias?: boolean
  readonly dtype?: FloatDType
}

/** queries [B, T, ·], keys [B, S, ·], values [B, S, ·]; a mask is bool, true keeps, or added, over [B, N, T, S]. */
export interface Inputs {
  readonly queries: Tensor.Tensor
  readonly keys: Tensor.Tensor
  readonly values: Tensor.Tensor
  readonly mask?: Tensor.Tensor | Mask.Mask
}

/** Parameters by MLX's names. */
export type MlxParams = {
  readonly query_proj: LinearParams
  readonly key_proj: LinearParams
  readonly value_proj: LinearParams
  readonly out_proj: LinearParams
}

const op = "MultiHeadAttention"

const optionNames: ReadonlyArray<keyof Options> = [
  ...(["queryInputDims", "keyInputDims", "valueInputDims", "valueDims", "valueOutputDims"] as const),
  ...(["bias", "dtype"] as const)
]

export const MultiHeadAttention = (
  dims: number,
  numHeads: number,
  options: Options = {}
): Layer.Layer<MlxParams, Inputs, Tensor.Tensor> => {
  Face.check(op, options, optionNames)
  if (dims % numHeads !== 0) {
    throw new AttrError({
      op,
      message: `The input feature dimensions should be divisible by the number of heads (${dims} % ${numHeads}) != 0`
    })
  }
  const valueDims = options.valueDims ?? dims
  if (valueDims % numHeads !== 0)
    throw new AttrError({
      op,
      message: `valueDims ${valueDims} do not divide by ${numHeads} heads`
    })
  const features = options.queryInputDims ?? dims
  const keyFeatures = options.keyInputDims ?? dims
  const valueFeatures = options.valueInputDims ?? keyFeatures
  const start = (size: number) => Initialiser.fanInUniform({ in: size, out: size })
  const starts = {
    query: start(features),
    key: start(keyFeatures),
    value: start(valueFeatures),
    out: start(valueDims)
  }
  const core = attention({
    features,
    heads: numHeads,
    headSize: dims / numHeads,
    keyFeatures,
    valueFeatures,
    valueHeadSize: valueDims / numHeads,
    outFeatures: options.valueOutputDims ?? dims,
    bias: options.bias ?? false,
    dtype: options.dtype,
    init: starts,
    biasInit: starts
  })
  const { query, key, value, out } = core.params
  const params: MlxParams = { query_proj: query, key_proj: key, value_proj: value, out_proj: out }
  return Layer.make(params, (p, inputs: Inputs) => {
    Face.check(op, inputs, ["queries", "keys", "values", "mask"])
    const { queries, keys, values, mask } = inputs
    Face.need(op, { queries, keys, values })
    const own = {
      query: p.query_proj,
      key: p.key_proj,
      value: p.value_proj,
      out: p.out_proj
    } as Params.Tensors<typeof core.params>
    return core.apply(own, { query: queries, key: keys, value: values, mask }).out
  })
}

/** [N, N]: 0 where key j ≤ query i, the least number of the dtype elsewhere, to be added to logits. */
export const createAdditiveCausalMask = (N: number, dtype: FloatDType = "f32"): Tensor.Tensor => {
  const [row, column] = [Tensor.reshape(Tensor.arange(N), [N, 1]), Tensor.arange(N)]
  const least = -DType.maxFinite[dtype]
  return Tensor.cast(
    Tensor.where(Tensor.lt(row, column), Tensor.constant(least, dtype), 0),
    dtype
  ) as Tensor.Tensor
}
