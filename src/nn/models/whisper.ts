import type { FloatDType } from "../../../ir/DType.ts"
import { spec } from "../../spec.ts"
import * as Tensor from "../../Tensor.ts"
import type { Cache } from "../attentionConfig.ts"
import { unembed } from "../embedding.ts"
import * as Initialiser from "../Initialiser.ts"
import type { Hidden, LanguageModel, Words } from "../LanguageModel.ts"
import * as Layer from "../Layer.ts"
import { type LinearParams, linear } from "../linear.ts"
import { activations } from "../mlp.ts"
import { layerNorm, type NormParams } from "../norm.ts"
import * as Params from "../Params.ts"
import { type TransformerInputs, type TransformerParams, transformerLayer } from "../transformer.ts"

/**
 * A speech encoder and decoder as Whisper is (Radford et al. 2022, arXiv 2212.04356). Shapes: B batch, M mel channels, A audio frames, S = A / 2 positions of
 * the encoder, V words, T words so far, F features.
 */
export interface WhisperConfig {
  readonly mels: number
  /** S at most, and T at most. */
  readonly sourcePositions: number
  readonly targetPositions: number
  readonly words: number
  readonly features: number
  readonly encoderLayers: number
  readonly decoderLayers: number
  readonly heads: number
  /** 4 F unless told otherwise. */
  readonly hidden?: number | undefined
  readonly dtype?: FloatDType | undefined
}

/** weight [O, I, 3], bias [O]. */
type Conv = { readonly weight: Params.Param; readonly bias: Params.Param }

type Projections = {
  readonly q_proj: LinearParams
  readonly k_proj: LinearParams
  readonly v_proj: LinearParams
  readonly out_proj: LinearParams
}

export type WhisperLayerParams = {
  readonly self_attn: Projections
  readonly self_attn_layer_norm: NormParams
  readonly encoder_attn: Projections | undefined
  readonly encoder_attn_layer_norm: NormParams | undefined
  readonly fc1: LinearParams
  readonly fc2: LinearParams
  readonly final_layer_norm: NormParams
}

/** Parameters by the names of Hugging Face. */
export type WhisperParams = {
  readonly model: {
    readonly encoder: {
      readonly conv1: Conv
      readonly conv2: Conv
      readonly embed_positions: { readonly weight: Params.Param }
      readonly layers: ReadonlyArray<WhisperLayerParams>
      readonly layer_norm: NormParams
    }
    readonly decoder: {
      readonly embed_tokens: { readonly weight: Params.Param }
      readonly embed_positions: { readonly weight: Params.Param }
      readonly layers: ReadonlyArray<WhisperLayerParams>
      readonly layer_norm: NormParams
    }
  }
}

export interface DecodeInputs {
  /** i32 [B, T] */
  readonly tokens: Tensor.Tensor
  /** [B, S, F], what `encode` gives. */
  readonly encoded: Tensor.Tensor
  readonly caches?: ReadonlyArray<Cache> | undefined
}

export interface Whisper
  extends Layer.Layer<
      WhisperParams,
      { readonly mel: Tensor.Tensor; readonly tokens: Tensor.Tensor },
      Tensor.Tensor
    >,
    LanguageModel {
  readonly params: WhisperParams
  /** float [B, M, A] to [B, S, F]. A is even. */
  readonly encode: (params: Params.Tensors<WhisperParams>, mel: Tensor.Tensor) => Tensor.Tensor
  /** Logits [B, T, V]. */
  readonly decode: (
    params: Params.Tensors<WhisperParams>,
    inputs: DecodeInputs
  ) => { readonly logits: Tensor.Tensor; readonly caches: ReadonlyArray<Cache> | undefined }
}

/** A convolution of width 3 over [B, T, I], zeros at both ends: every `stride`-th row of [B, T, O]. */
const conv = (x: Tensor.Tensor, { weight, bias }: Params.Tensors<Conv>, stride: 1 | 2): Tensor.Tensor => {
  const length = x.shape[1] as number
  const padded = Tensor.pad(x, [
    [0, 0],
    [1, 1],
    [0, 0]
  ]) as Tensor.Tensor
  const taps = [0, 1, 2].map((n) => {
    const rows = Tensor.slice(padded, 1, { start: n, stop: n + length - stride + 1, step: stride })
    const kernel = Tensor.squeeze(Tensor.slice(weight as Tensor.Tensor, 2, { start: n, stop: n + 1 }), 2)
    return Tensor.matmul(rows, Tensor.transpose(kernel)) as Tensor.Tensor
  })
  const sum = taps.reduce((a, b) => Tensor.add(a, b) as Tensor.Tensor)
  return Tensor.add(sum, bias as Tensor.Tensor) as Tensor.Tensor
}

const projections = (p: Params.Tensors<Projections> | undefined) =>
  p === undefined ? undefined : { query: p.q_proj, key: p.k_proj, value: p.v_proj, out: p.out_proj }

const inner = (p: Params.Tensors<WhisperLayerParams>): Params.Tensors<TransformerParams> =>
  ({
    attention: projections(p.self_attn),
    attentionNorm: p.self_attn_layer_norm,
    cross: projections(p.encoder_attn),
    crossNorm: p.encoder_attn_layer_norm,
    mlp: { up: p.fc1, down: p.fc2 },
    mlpNorm: p.final_layer_norm
  }) as unknown as Params.Tensors<TransformerParams>

/** Takes mel spectrograms of 2 S frames; the model itself, without a cache, is `mel` and `tokens` to logits. */
export const whisper = (config: WhisperConfig): Whisper => {
  const {
    mels,
    sourcePositions,
    targetPositions,
    words,
    features,
    heads,
    hidden = 4 * features,
    dtype = "f32"
  } = config
  const shared = { features, hidden, heads, bias: { key: false }, dtype } as const
  const encoderBlock = transformerLayer(shared)
  const decoderBlock = transformerLayer({ ...shared, causal: true, cross: true })
  const norm = layerNorm({ features, dtype })
  const start = Initialiser.normal(0.02)
  const dense = (from: number, to: number, bias = true): LinearParams =>
    linear({ in: from, out: to, bias, dtype, init: start, biasInit: Initialiser.zeros }).params
  const attentionParams = (): Projections => ({
    q_proj: dense(features, features),
    k_proj: dense(features, features, false),
    v_proj: dense(features, features),
    out_proj: dense(features, features)
  })
  const own = (cross: boolean): WhisperLayerParams => ({
    self_attn: attentionParams(),
    self_attn_layer_norm: norm.params,
    encoder_attn: cross ? attentionParams() : undefined,
    encoder_attn_layer_norm: cross ? norm.params : undefined,
    fc1: dense(features, hidden),
    fc2: dense(hidden, features),
    final_layer_norm: norm.params
  })
  const table = (rows: number) => ({ weight: Params.param(dtype, [rows, features], start) })
  const kernel = (from: number): Conv => ({
    weight: Params.param(dtype, [features, from, 3], start),
    bias: Params.param(dtype, [features], Initialiser.zeros)
  })
  const params: WhisperParams = {
    model: {
      encoder: {
        conv1: kernel(mels),
        conv2: kernel(features),
        embed_positions: table(sourcePositions),
        layers: Array.from({ length: config.encoderLayers }, () => own(false)),
        layer_norm: norm.params
      },
      decoder: {
        embed_tokens: table(words),
        embed_positions: table(targetPositions),
        layers: Array.from({ length: config.decoderLayers }, () => own(true)),
        layer_norm: norm.params
      }
    }
  }
  const encode: Whisper["encode"] = (p, mel) => {
    const { conv1, conv2, embed_positions, layers, layer_norm } = p.model.encoder
    const frames = Tensor.swapAxes(mel, 1, 2) as Tensor.Tensor
    const heard = activations.gelu(conv(activations.gelu(conv(frames, conv1, 1)), conv2, 2))
    let x = Tensor.add(heard, embed_positions.weight as Tensor.Tensor) as Tensor.Tensor
    for (const layer of layers as ReadonlyArray<Params.Tensors<WhisperLayerParams>>)
      x = encoderBlock.apply(inner(layer), { x }).out
    return norm.apply(layer_norm, x)
  }
  const hiddenOf = (
    p: Params.Tensors<WhisperParams>,
    { tokens, caches }: Pick<DecodeInputs, "tokens" | "caches">,
    encoded: (layer: number) => TransformerInputs["encoded"]
  ): Hidden => {
    const { embed_tokens, embed_positions, layers, layer_norm } = p.model.decoder
    const table = embed_tokens.weight as Tensor.Tensor
    const count = Tensor.arange(tokens.shape[1] as number)
    const first = caches?.[0]?.length
    const at = first === undefined ? count : Tensor.add(Tensor.reshape(first, [-1, 1]), count)
    const place = Tensor.take(embed_positions.weight as Tensor.Tensor, at as never, 0)
    let x = Tensor.add(Tensor.take(table, tokens as never, 0), place) as Tensor.Tensor
    const next: Array<Cache> = []
    for (const [n, layer] of (layers as ReadonlyArray<Params.Tensors<WhisperLayerParams>>).entries()) {
      const { out, cache } = decoderBlock.apply(inner(layer), { x, encoded: encoded(n), cache: caches?.[n] })
      x = out
      if (cache !== undefined) next.push(cache)
    }
    return { hidden: norm.apply(layer_norm, x), caches: caches === undefined ? undefined : next }
  }
  const predict = (p: Params.Tensors<WhisperParams>, x: Tensor.Tensor): Tensor.Tensor =>
    unembed(p.model.decoder.embed_tokens.weight as Tensor.Tensor, x)
  const decode: Whisper["decode"] = (p, inputs) => {
    const { hidden: last, caches } = hiddenOf(p, inputs, () => inputs.encoded)
    return { logits: predict(p, last), caches }
  }
  const layer = Layer.make(
    params,
    (
      p: Params.Tensors<WhisperParams>,
      { mel, tokens }: { readonly mel: Tensor.Tensor; readonly tokens: Tensor.Tensor }
    ) => decode(p, { tokens, encoded: encode(p, mel) }).logits
  )
  const size = features / heads
  const heard = Object.fromEntries(
    Array.from({ length: config.decoderLayers }, (_, n) => [`keys.${n}`, `values.${n}`])
      .flat()
      .map((name) => [name, spec(dtype, ["B", heads, "S", size])])
  )
  /** Keys and values that the decoder's layers make of what the encoder heard: the same for every word. */
  const make = (
    p: Params.Tensors<WhisperParams>,
    { encoded }: { readonly [name: string]: Tensor.Tensor }
  ) => {
    const of = (projection: Params.Tensors<LinearParams>): Tensor.Tensor => {
      const own = linear({ in: features, out: features, dtype }).apply(projection, encoded as Tensor.Tensor)
      const [batch, length] = own.shape as readonly [number, number]
      return Tensor.permute(Tensor.reshape(own, [batch, length, heads, size]), [0, 2, 1, 3]) as Tensor.Tensor
    }
    return Object.fromEntries(
      (p.model.decoder.layers as ReadonlyArray<Params.Tensors<WhisperLayerParams>>).flatMap((layer, n) => {
        const { k_proj, v_proj } = layer.encoder_attn as Params.Tensors<Projections>
        return [
          [`keys.${n}`, of(k_proj as Params.Tensors<LinearParams>)],
          [`values.${n}`, of(v_proj as Params.Tensors<LinearParams>)]
        ]
      })
    )
  }
  return {
    ...layer,
    encode,
    decode,
    words,
    dtype,
    positions: targetPositions,
    kept: Array.from({ length: config.decoderLayers }, () => ({ heads, size })),
    context: { given: { encoded: spec(dtype, ["B", "S", features]) }, made: heard, make },
    hidden: (p: Params.Tensors<WhisperParams>, { context, ...inputs }: Words) =>
      hiddenOf(p, inputs, (n) => ({
        keyHeads: context[`keys.${n}`] as Tensor.Tensor,
        valueHeads: context[`values.${n}`] as Tensor.Tensor
      })),
    predict
  }
}
