import type { FloatDType } from "../../ir/DType.ts"
import * as Tensor from "../Tensor.ts"
import { type AttentionParams, attention } from "./attention.ts"
import type { AttentionConfig, AttentionInputs, Cache } from "./attentionConfig.ts"
import * as Layer from "./Layer.ts"
import { type Activation, type MlpParams, mlp } from "./mlp.ts"
import { layerNorm, type NormParams } from "./norm.ts"
import type * as Params from "./Params.ts"

/**
 * A layer of a transformer (Vaswani et al. 2017, arXiv 1706.03762): self-attention, attention to an encoder where it is a decoder's, feed-forward;
 * each with a norm and added to what it came from. Shapes: B batch, T positions, S positions of the encoder, F features, H hidden features.
 */
export interface TransformerConfig {
  readonly features: number
  readonly hidden: number
  readonly heads: number
  readonly activation?: Activation | undefined
  /** Norms stand before what they belong to and not behind the sum; they do unless told otherwise. */
  readonly normFirst?: boolean | undefined
  /** Attends to an encoder as well. */
  readonly cross?: boolean | undefined
  readonly causal?: boolean | undefined
  /** Of the projections of attention; all unless told otherwise. */
  readonly bias?: AttentionConfig["bias"]
  readonly epsilon?: number | undefined
  readonly dtype?: FloatDType | undefined
}

export type TransformerParams = {
  readonly attention: AttentionParams
  readonly attentionNorm: NormParams
  readonly cross: AttentionParams | undefined
  readonly crossNorm: NormParams | undefined
  readonly mlp: MlpParams
  readonly mlpNorm: NormParams
}

export interface TransformerInputs
  extends Pick<AttentionInputs, "cache" | "keyMask" | "mask" | "keyLengths"> {
  /** [B, T, F] */
  readonly x: Tensor.Tensor
  /** [B, S, F], where the layer attends to an encoder; or its keys and values as heads, [B, N, S, D]. */
  readonly encoded?: Tensor.Tensor | Heads | undefined
  /** bool [B, S] */
  readonly encodedMask?: Tensor.Tensor | undefined
}

/** Keys and values that are projected already. */
interface Heads {
  readonly keyHeads: Tensor.Tensor
  readonly valueHeads: Tensor.Tensor
}

export interface TransformerOutput {
  readonly out: Tensor.Tensor
  readonly cache: Cache | undefined
}

export type TransformerLayer = Layer.Layer<TransformerParams, TransformerInputs, TransformerOutput>

export const transformerLayer = (config: TransformerConfig): TransformerLayer => {
  const { features, hidden, heads, dtype, epsilon, normFirst = true } = config
  const norm = layerNorm({ features, epsilon, dtype })
  const own = attention({ features, heads, bias: config.bias, causal: config.causal, dtype })
  const other = config.cross === true ? attention({ features, heads, bias: config.bias, dtype }) : undefined
  const feed = mlp({ features, hidden, activation: config.activation, dtype })
  const params: TransformerParams = {
    attention: own.params,
    attentionNorm: norm.params,
    cross: other?.params,
    crossNorm: other === undefined ? undefined : norm.params,
    mlp: feed.params,
    mlpNorm: norm.params
  }
  /** `f` around its norm, added to what it takes. */
  const added = (
    x: Tensor.Tensor,
    gain: Params.Tensors<NormParams>,
    f: (x: Tensor.Tensor) => Tensor.Tensor
  ): Tensor.Tensor => {
    const sum = (y: Tensor.Tensor): Tensor.Tensor => Tensor.add(x, f(y)) as Tensor.Tensor
    return normFirst ? sum(norm.apply(gain, x)) : norm.apply(gain, sum(x))
  }
  return Layer.make(params, (p, { x, encoded, encodedMask, ...inputs }: TransformerInputs) => {
    let cache: Cache | undefined
    const attended = added(x, p.attentionNorm, (query) => {
      const { out, cache: next } = own.apply(p.attention, { query, ...inputs })
      cache = next
      return out
    })
    const { cross, crossNorm } = p
    const met =
      other === undefined || cross === undefined || crossNorm === undefined || encoded === undefined
        ? attended
        : added(
            attended,
            crossNorm,
            (query) =>
              other.apply(cross, {
                query,
                keyMask: encodedMask,
                ...(Tensor.isTensor(encoded) ? { key: encoded } : encoded)
              }).out
          )
    return { out: added(met, p.mlpNorm, (y) => feed.apply(p.mlp, y)), cache }
  })
}
