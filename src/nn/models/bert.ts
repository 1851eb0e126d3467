import type { FloatDType } from "../../../ir/DType.ts"
import * as Tensor from "../../Tensor.ts"
import * as Initialiser from "../Initialiser.ts"
import * as Layer from "../Layer.ts"
import { type LinearParams, linear } from "../linear.ts"
import type { Activation } from "../mlp.ts"
import { layerNorm, type NormParams } from "../norm.ts"
import * as Params from "../Params.ts"
import { type TransformerParams, transformerLayer } from "../transformer.ts"

/** BERT (Devlin et al. 2018, arXiv 1810.04805). Shapes: V words, P positions, K kinds of tokens, F features. */
export interface BertConfig {
  readonly words: number
  readonly positions: number
  /** K; 2 unless told otherwise. */
  readonly kinds?: number | undefined
  readonly features: number
  readonly hidden: number
  readonly layers: number
  readonly heads: number
  /** 1e-12 unless told otherwise. */
  readonly epsilon?: number | undefined
  readonly activation?: Activation | undefined
  readonly dtype?: FloatDType | undefined
}

type Dense = { readonly dense: LinearParams }

export type BertLayerParams = {
  readonly attention: {
    readonly self: { readonly query: LinearParams; readonly key: LinearParams; readonly value: LinearParams }
    readonly output: Dense & { readonly LayerNorm: NormParams }
  }
  readonly intermediate: Dense
  readonly output: Dense & { readonly LayerNorm: NormParams }
}

/** Parameters by the names of Hugging Face. */
export type BertParams = {
  readonly embeddings: {
    readonly word_embeddings: { readonly weight: Params.Param }
    readonly position_embeddings: { readonly weight: Params.Param }
    readonly token_type_embeddings: { readonly weight: Params.Param }
    readonly LayerNorm: NormParams
  }
  readonly encoder: { readonly layer: ReadonlyArray<BertLayerParams> }
  readonly pooler: Dense
}

export interface BertInputs {
  /** i32 [B, T] */
  readonly tokens: Tensor.Tensor
  /** i32 [B, T]; all 0 unless given. */
  readonly kinds?: Tensor.Tensor | undefined
  /** bool, or numbers of which 0 is padding, [B, T]. */
  readonly mask?: Tensor.Tensor | undefined
}

export interface BertOutput {
  /** [B, T, F] */
  readonly hidden: Tensor.Tensor
  /** Of the first token, [B, F]. */
  readonly pooled: Tensor.Tensor
}

export const bert = (config: BertConfig): Layer.Layer<BertParams, BertInputs, BertOutput> => {
  const { words, positions, kinds = 2, features, hidden, dtype = "f32", epsilon = 1e-12 } = config
  const block = transformerLayer({
    features,
    hidden,
    heads: config.heads,
    activation: config.activation ?? "gelu",
    normFirst: false,
    epsilon,
    dtype
  })
  const norm = layerNorm({ features, epsilon, dtype })
  const dense = (from: number, to: number) =>
    linear({ in: from, out: to, dtype, init: Initialiser.normal(0.02), biasInit: Initialiser.zeros })
  const table = (rows: number) => ({
    weight: Params.param(dtype, [rows, features], Initialiser.normal(0.02))
  })
  const square = dense(features, features)
  const own = (): BertLayerParams => ({
    attention: {
      self: { query: square.params, key: square.params, value: square.params },
      output: { dense: square.params, LayerNorm: norm.params }
    },
    intermediate: { dense: dense(features, hidden).params },
    output: { dense: dense(hidden, features).params, LayerNorm: norm.params }
  })
  const params: BertParams = {
    embeddings: {
      word_embeddings: table(words),
      position_embeddings: table(positions),
      token_type_embeddings: table(kinds),
      LayerNorm: norm.params
    },
    encoder: { layer: Array.from({ length: config.layers }, own) },
    pooler: { dense: square.params }
  }
  return Layer.make(
    params,
    (p: Params.Tensors<BertParams>, { tokens, kinds: types, mask }: BertInputs): BertOutput => {
      const { word_embeddings, position_embeddings, token_type_embeddings, LayerNorm } = p.embeddings
      const rows = (of: { readonly weight: unknown }, at: Tensor.Tensor): Tensor.Tensor =>
        Tensor.take(of.weight as Tensor.Tensor, at as never, 0)
      const count = Tensor.arange(tokens.shape[1] as number) as Tensor.Tensor
      const kind = types ?? (Tensor.constant(0, "i32") as Tensor.Tensor)
      const parts = [
        rows(word_embeddings, tokens),
        rows(position_embeddings, count),
        rows(token_type_embeddings, kind)
      ]
      let x = norm.apply(
        LayerNorm,
        parts.reduce((a, b) => Tensor.add(a, b) as Tensor.Tensor)
      )
      for (const layer of p.encoder.layer as ReadonlyArray<Params.Tensors<BertLayerParams>>) {
        const { attention, intermediate, output } = layer
        const inner = {
          attention: { ...attention.self, out: attention.output.dense },
          attentionNorm: attention.output.LayerNorm,
          mlp: { up: intermediate.dense, down: output.dense },
          mlpNorm: output.LayerNorm
        } as unknown as Params.Tensors<TransformerParams>
        x = block.apply(inner, { x, keyMask: mask }).out
      }
      const first = Tensor.squeeze(Tensor.slice(x, 1, { start: 0, stop: 1 }), 1) as Tensor.Tensor
      return { hidden: x, pooled: Tensor.tanh(square.apply(p.pooler.dense, first)) as Tensor.Tensor }
    }
  )
}
