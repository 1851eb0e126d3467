import type { FloatDType } from "../../../ir/DType.ts"
import { AttrError } from "../../errors.ts"
import * as Mask from "../../Mask.ts"
import * as Tensor from "../../Tensor.ts"
import type { Seed } from "../../tensor/random.ts"
import * as Initialiser from "../Initialiser.ts"
import * as Layer from "../Layer.ts"
import * as Params from "../Params.ts"
import * as Face from "./options.ts"

/**
 * `keras.layers.Attention` and `AdditiveAttention` (Keras 3.16): attention of one head without projections. Shapes: B batch, T queries, S keys,
 * D features, E features of values. Masked keys score -1e9 (-65504 in f16).
 */
export interface ScoreOptions {
  /** A learned factor. */
  readonly useScale?: boolean
  readonly dropout?: number
  readonly seed?: Seed
  readonly dtype?: FloatDType
}

export interface DotOptions extends ScoreOptions {
  /** `concat` scores sum(tanh(q + k)). */
  readonly scoreMode?: "dot" | "concat"
}

export interface AdditiveOptions extends ScoreOptions {
  /** D, which the learned factor has; Keras reads it off the first call. */
  readonly features: number
}

export interface ScoreInputs {
  readonly query: Tensor.Tensor
  readonly value: Tensor.Tensor
  /** The value unless told otherwise. */
  readonly key?: Tensor.Tensor | undefined
  /** bool [B, T] and [B, S]: true takes part. Rows of other queries give 0. */
  readonly queryMask?: Tensor.Tensor | undefined
  readonly valueMask?: Tensor.Tensor | undefined
  readonly returnAttentionScores?: boolean | undefined
  readonly training?: boolean | undefined
  readonly useCausalMask?: boolean | undefined
  /** Of dropout; beats the layer's. */
  readonly seed?: Seed | undefined
}

export interface ScoreOutput {
  /** [B, T, E] */
  readonly out: Tensor.Tensor
  /** [B, T, S], after dropout. */
  readonly scores: Tensor.Tensor | undefined
}

type DotParams = {
  readonly scale: Params.Param | undefined
  readonly concat_score_weight: Params.Param | undefined
}

type AdditiveParams = { readonly scale: Params.Param | undefined }

export const Attention = (options: DotOptions = {}): Layer.Layer<DotParams, ScoreInputs, ScoreOutput> => {
  Face.check("Attention", options, ["useScale", "dropout", "seed", "dtype", "scoreMode"])
  const { scoreMode = "dot", useScale = false, dtype = "f32" } = options
  const one = (there: boolean): Params.Param | undefined =>
    there ? Params.param(dtype, [], Initialiser.ones) : undefined
  const params: DotParams = { scale: one(useScale), concat_score_weight: one(scoreMode === "concat") }
  return Layer.make(params, (p, inputs: ScoreInputs) =>
    weigh(options, inputs, (query, key) => {
      const times = (x: Tensor.Tensor, factor: unknown): Tensor.Tensor =>
        factor === undefined ? x : (Tensor.mul(x, factor as Tensor.Tensor) as Tensor.Tensor)
      if (scoreMode === "dot")
        return times(Tensor.matmul(query, Tensor.transpose(key)) as Tensor.Tensor, p.scale)
      const scaled = Tensor.tanh(times(sums(query, key), p.scale))
      return times(Tensor.sum(scaled, -1) as Tensor.Tensor, p.concat_score_weight)
    })
  )
}

export const AdditiveAttention = (
  options: AdditiveOptions
): Layer.Layer<AdditiveParams, ScoreInputs, ScoreOutput> => {
  Face.check("AdditiveAttention", options, ["useScale", "dropout", "seed", "dtype", "features"])
  Face.need("AdditiveAttention", { features: options.features })
  const { features, useScale = true, dtype = "f32" } = options
  const init = Initialiser.glorotUniform({ in: features, out: features })
  const params: AdditiveParams = { scale: useScale ? Params.param(dtype, [features], init) : undefined }
  return Layer.make(params, (p, inputs: ScoreInputs) =>
    weigh(options, inputs, (query, key) => {
      const bent = Tensor.tanh(sums(query, key))
      const weighed = p.scale === undefined ? bent : Tensor.mul(bent, p.scale as Tensor.Tensor)
      return Tensor.sum(weighed as Tensor.Tensor, -1) as Tensor.Tensor
    })
  )
}

const inputNames: ReadonlyArray<keyof ScoreInputs> = [
  ...(["query", "value", "key", "queryMask", "valueMask", "returnAttentionScores"] as const),
  ...(["training", "useCausalMask", "seed"] as const)
]

/** Every query with every key: [B, T, S, D]. */
const sums = (query: Tensor.Tensor, key: Tensor.Tensor): Tensor.Tensor =>
  Tensor.add(Tensor.expandDims(query, -2), Tensor.expandDims(key, -3)) as Tensor.Tensor

const weigh = (
  { dropout = 0, seed, dtype }: ScoreOptions,
  inputs: ScoreInputs,
  score: (query: Tensor.Tensor, key: Tensor.Tensor) => Tensor.Tensor
): ScoreOutput => {
  Face.check("Attention", inputs, inputNames)
  const { query, value, key = value, queryMask, valueMask } = inputs
  Face.need("Attention", { query, value })
  const far = dtype === "f16" ? -65504 : -1e9
  const keeps: ReadonlyArray<Mask.Keep> = [
    ...(valueMask === undefined
      ? []
      : [Mask.fromTensor(Tensor.expandDims(valueMask, -2) as Tensor.Tensor<"bool">)]),
    ...(inputs.useCausalMask === true ? [Mask.causal] : [])
  ]
  const scores = keeps.reduce<Tensor.Tensor>(
    (x, keep) => Mask.apply(x, keep, far) as Tensor.Tensor,
    score(query, key)
  )
  const weights = Tensor.softmax(scores, -1) as Tensor.Tensor
  const kept =
    inputs.training === true && dropout > 0
      ? (Tensor.dropout(weights, {
          rate: dropout,
          seed: seedOf(inputs.seed ?? seed, dropout)
        }) as Tensor.Tensor)
      : weights
  const result = Tensor.matmul(kept, value) as Tensor.Tensor
  const out =
    queryMask === undefined
      ? result
      : (Tensor.where(Tensor.expandDims(queryMask, -1) as Tensor.Tensor<"bool">, result, 0) as Tensor.Tensor)
  return { out, scores: inputs.returnAttentionScores === true ? kept : undefined }
}

const seedOf = (seed: Seed | undefined, dropout: number): Seed => {
  if (seed !== undefined) return seed
  throw new AttrError({
    op: "Attention",
    message: `dropout of ${dropout} in training needs a seed`,
    hint: "pass { training: true, seed }: a number, or a u32 scalar that each call brings along"
  })
}
