import type { FloatDType } from "../../../ir/DType.ts"
import { ShapeError } from "../../errors.ts"
import * as Tensor from "../../Tensor.ts"
import * as Initialiser from "../Initialiser.ts"
import * as Layer from "../Layer.ts"
import { type LinearParams, linear } from "../linear.ts"
import type { Activation } from "../mlp.ts"
import { layerNorm, type NormParams } from "../norm.ts"
import * as Params from "../Params.ts"
import { type TransformerParams, transformerLayer } from "../transformer.ts"

/**
 * The Vision Transformer (Dosovitskiy et al. 2020, arXiv 2010.11929). Shapes: B batch, C channels, H height, W width, P side of a patch, F features, L
 * labels, T = 1 + H / P · W / P tokens.
 */
export interface VitConfig {
  readonly image: readonly [height: number, width: number]
  readonly patch: number
  /** C; 3 unless told otherwise. */
  readonly channels?: number | undefined
  readonly features: number
  readonly hidden: number
  readonly layers: number
  readonly heads: number
  readonly labels: number
  /** 1e-12 unless told otherwise. */
  readonly epsilon?: number | undefined
  readonly activation?: Activation | undefined
  readonly dtype?: FloatDType | undefined
}

type Dense = { readonly dense: LinearParams }

export type VitLayerParams = {
  readonly layernorm_before: NormParams
  readonly attention: {
    readonly attention: {
      readonly query: LinearParams
      readonly key: LinearParams
      readonly value: LinearParams
    }
    readonly output: Dense
  }
  readonly layernorm_after: NormParams
  readonly intermediate: Dense
  readonly output: Dense
}

/** Parameters by the names of Hugging Face. */
export type VitParams = {
  readonly vit: {
    readonly embeddings: {
      readonly cls_token: Params.Param
      readonly position_embeddings: Params.Param
      /** [F, C, P, P] */
      readonly patch_embeddings: {
        readonly projection: { readonly weight: Params.Param; readonly bias: Params.Param }
      }
    }
    readonly encoder: { readonly layer: ReadonlyArray<VitLayerParams> }
    readonly layernorm: NormParams
  }
  readonly classifier: LinearParams
}

export interface VitOutput {
  /** [B, T, F], normalised. */
  readonly hidden: Tensor.Tensor
  /** [B, L] */
  readonly logits: Tensor.Tensor
}

/** Pixels [B, C, H, W] to patches [B, H / P · W / P, C · P · P]: what a convolution with that stride sees. */
const patches = (pixels: Tensor.Tensor, side: number): Tensor.Tensor => {
  const [batch, channels, height, width] = pixels.shape as readonly [number, number, number, number]
  const [rows, columns] = [height / side, width / side]
  const apart = Tensor.reshape(pixels, [batch, channels, rows, side, columns, side])
  return Tensor.reshape(Tensor.permute(apart, [0, 2, 4, 1, 3, 5]), [
    batch,
    rows * columns,
    channels * side * side
  ]) as Tensor.Tensor
}

/** Takes pixels, float [B, C, H, W]. */
export const vit = (config: VitConfig): Layer.Layer<VitParams, Tensor.Tensor, VitOutput> => {
  const { patch, channels = 3, features, hidden, dtype = "f32", epsilon = 1e-12 } = config
  const [height, width] = config.image
  if (height % patch !== 0 || width % patch !== 0) {
    throw new ShapeError({
      op: "vit",
      message: `an image of ${height} x ${width} does not divide into patches of ${patch} x ${patch}`,
      hint: "resize or crop it"
    })
  }
  const count = (height / patch) * (width / patch)
  const block = transformerLayer({
    features,
    hidden,
    heads: config.heads,
    activation: config.activation ?? "gelu",
    epsilon,
    dtype
  })
  const norm = layerNorm({ features, epsilon, dtype })
  const start = Initialiser.truncatedNormal(0.02)
  const dense = (from: number, to: number) =>
    linear({ in: from, out: to, dtype, init: start, biasInit: Initialiser.zeros })
  const square = dense(features, features)
  const classifier = dense(features, config.labels)
  const own = (): VitLayerParams => ({
    layernorm_before: norm.params,
    attention: {
      attention: { query: square.params, key: square.params, value: square.params },
      output: { dense: square.params }
    },
    layernorm_after: norm.params,
    intermediate: { dense: dense(features, hidden).params },
    output: { dense: dense(hidden, features).params }
  })
  const params: VitParams = {
    vit: {
      embeddings: {
        cls_token: Params.param(dtype, [1, 1, features], start),
        position_embeddings: Params.param(dtype, [1, count + 1, features], start),
        patch_embeddings: {
          projection: {
            weight: Params.param(dtype, [features, channels, patch, patch], start),
            bias: Params.param(dtype, [features], Initialiser.zeros)
          }
        }
      },
      encoder: { layer: Array.from({ length: config.layers }, own) },
      layernorm: norm.params
    },
    classifier: classifier.params
  }
  return Layer.make(params, (p: Params.Tensors<VitParams>, pixels: Tensor.Tensor): VitOutput => {
    const { cls_token, position_embeddings, patch_embeddings } = p.vit.embeddings
    const { weight, bias } = patch_embeddings.projection
    const kernel = Tensor.transpose(Tensor.reshape(weight as Tensor.Tensor, [features, -1]))
    const embedded = Tensor.add(
      Tensor.matmul(patches(pixels, patch), kernel),
      bias as Tensor.Tensor
    ) as Tensor.Tensor
    const first = Tensor.broadcastTo(cls_token as Tensor.Tensor, [pixels.shape[0] as number, 1, features])
    let x = Tensor.add(
      Tensor.concat([first, embedded], 1),
      position_embeddings as Tensor.Tensor
    ) as Tensor.Tensor
    for (const layer of p.vit.encoder.layer as ReadonlyArray<Params.Tensors<VitLayerParams>>) {
      const inner = {
        attention: { ...layer.attention.attention, out: layer.attention.output.dense },
        attentionNorm: layer.layernorm_before,
        mlp: { up: layer.intermediate.dense, down: layer.output.dense },
        mlpNorm: layer.layernorm_after
      } as unknown as Params.Tensors<TransformerParams>
      x = block.apply(inner, { x }).out
    }
    const normed = norm.apply(p.vit.layernorm, x)
    const token = Tensor.squeeze(Tensor.slice(normed, 1, { start: 0, stop: 1 }), 1) as Tensor.Tensor
    return { hidden: normed, logits: classifier.apply(p.classifier, token) }
  })
}
