import { AttrError } from "../../errors.ts"
import * as Tensor from "../../Tensor.ts"
import { type AttentionLayer, attention } from "../attention.ts"
import type { AttentionInputs, Cache } from "../attentionConfig.ts"
import { embedding, unembed } from "../embedding.ts"
import * as Initialiser from "../Initialiser.ts"
import type { Hidden, LanguageModel } from "../LanguageModel.ts"
import * as Layer from "../Layer.ts"
import { type LinearParams, linear } from "../linear.ts"
import { gatedMlp } from "../mlp.ts"
import { type NormParams, rmsNorm } from "../norm.ts"
import type * as Params from "../Params.ts"
import { whole } from "../whole.ts"
import type { DecoderConfig } from "./decoderConfig.ts"

/** Parameters by the names that Hugging Face gives them. */
export type DecoderLayerParams = {
  readonly input_layernorm: NormParams
  readonly self_attn: {
    readonly q_proj: LinearParams
    readonly k_proj: LinearParams
    readonly v_proj: LinearParams
    readonly o_proj: LinearParams
    readonly q_norm: NormParams | undefined
    readonly k_norm: NormParams | undefined
  }
  readonly post_attention_layernorm: NormParams
  /** Gemma 2: before and behind the feed-forward. */
  readonly pre_feedforward_layernorm: NormParams | undefined
  readonly post_feedforward_layernorm: NormParams | undefined
  readonly mlp: {
    readonly gate_proj: LinearParams
    readonly up_proj: LinearParams
    readonly down_proj: LinearParams
  }
}

export type DecoderParams = {
  readonly model: {
    readonly embed_tokens: { readonly weight: Params.Param }
    readonly layers: ReadonlyArray<DecoderLayerParams>
    readonly norm: NormParams
  }
  /** Absent where it is the embedding's table. */
  readonly lm_head: { readonly weight: Params.Param } | undefined
}

export interface DecoderInputs {
  /** i32 [B, T] */
  readonly tokens: Tensor.Tensor
  /** bool [B, S]: false where a token is padding. */
  readonly keyMask?: Tensor.Tensor | undefined
  /** One for each layer. */
  readonly caches?: ReadonlyArray<Cache> | undefined
}

export interface DecoderOutput {
  /** [B, T, V] */
  readonly logits: Tensor.Tensor
  readonly caches: ReadonlyArray<Cache> | undefined
}

export interface Decoder extends Layer.Layer<DecoderParams, DecoderInputs, DecoderOutput>, LanguageModel {
  readonly params: DecoderParams
  readonly config: DecoderConfig
  /** All but the prediction of words: [B, T, F], normalised. */
  readonly hidden: (params: Params.Tensors<DecoderParams>, inputs: DecoderInputs) => Hidden
  /** Logits of words, [..., F] to [..., V]. */
  readonly predict: (params: Params.Tensors<DecoderParams>, hidden: Tensor.Tensor) => Tensor.Tensor
}

interface Block {
  readonly params: DecoderLayerParams
  readonly apply: (
    p: Params.Tensors<DecoderLayerParams>,
    x: Tensor.Tensor,
    inputs: Pick<AttentionInputs, "cache" | "keyMask">
  ) => { readonly out: Tensor.Tensor; readonly cache: Cache | undefined }
}

const add = (a: Tensor.Tensor, b: Tensor.Tensor): Tensor.Tensor => Tensor.add(a, b) as Tensor.Tensor

/** Norm, attention, add; norm, feed-forward, add. */
const block = (config: DecoderConfig, index: number): Block => {
  const { features, hidden, dtype, gemma = false } = config
  const norm = () => rmsNorm({ features, epsilon: config.epsilon, offset: gemma ? 1 : 0, dtype })
  const heads: AttentionLayer = attention({
    features,
    heads: config.heads,
    kvHeads: config.kvHeads,
    headSize: config.headSize,
    bias: {
      query: config.qkvBias ?? false,
      key: config.qkvBias ?? false,
      value: config.qkvBias ?? false,
      out: config.outBias ?? false
    },
    qkNorm: config.qkNorm === true ? "rms" : undefined,
    qkNormEpsilon: config.epsilon,
    rope: config.rope ?? {},
    scale: config.scale,
    softcap: config.softcap,
    causal: true,
    window: config.windows?.[index],
    dtype
  })
  const feed = gatedMlp({ features, hidden, activation: config.activation, dtype })
  const layers = { input: norm(), post: norm(), before: norm(), behind: norm() }
  const own = heads.params
  const params: DecoderLayerParams = {
    input_layernorm: layers.input.params,
    self_attn: {
      q_proj: own.query,
      k_proj: own.key,
      v_proj: own.value,
      o_proj: own.out,
      q_norm: own.queryNorm,
      k_norm: own.keyNorm
    },
    post_attention_layernorm: layers.post.params,
    pre_feedforward_layernorm: gemma ? layers.before.params : undefined,
    post_feedforward_layernorm: gemma ? layers.behind.params : undefined,
    mlp: { gate_proj: feed.params.gate, up_proj: feed.params.up, down_proj: feed.params.down }
  }
  return {
    params,
    apply: (p, x, inputs) => {
      const { q_proj, k_proj, v_proj, o_proj, q_norm, k_norm } = p.self_attn
      const projections = {
        query: q_proj,
        key: k_proj,
        value: v_proj,
        out: o_proj,
        queryNorm: q_norm,
        keyNorm: k_norm
      }
      const attended = heads.apply(projections as unknown as Parameters<typeof heads.apply>[0], {
        query: layers.input.apply(p.input_layernorm, x),
        ...inputs
      })
      const { gate_proj: gate, up_proj: up, down_proj: down } = p.mlp
      const fed = (y: Tensor.Tensor): Tensor.Tensor =>
        feed.apply({ gate, up, down } as Parameters<typeof feed.apply>[0], y)
      const { pre_feedforward_layernorm: before, post_feedforward_layernorm: behind } = p
      if (before === undefined || behind === undefined) {
        const mixed = add(x, attended.out)
        return {
          out: add(mixed, fed(layers.post.apply(p.post_attention_layernorm, mixed))),
          cache: attended.cache
        }
      }
      const mixed = add(x, layers.post.apply(p.post_attention_layernorm, attended.out))
      const out = add(mixed, layers.behind.apply(behind, fed(layers.before.apply(before, mixed))))
      return { out, cache: attended.cache }
    }
  }
}

const capped = (x: Tensor.Tensor, cap: number | undefined): Tensor.Tensor =>
  cap === undefined ? x : (Tensor.mul(Tensor.tanh(Tensor.div(x, cap)), cap) as Tensor.Tensor)

/** A decoder of the Llama family. Throws `AttrError` for sizes that do not fit together. */
export const decoder = (config: DecoderConfig): Decoder => {
  const { words, features, dtype = "f32", gemma = false } = config
  whole("decoder", { words, features, hidden: config.hidden, layers: config.layers })
  if (config.windows !== undefined && config.windows.length !== config.layers)
    throw new AttrError({
      op: "decoder",
      message: `there are ${config.windows.length} windows for ${config.layers} layers`,
      hint: "give one for each layer, undefined where it sees everything"
    })
  const embed = embedding({ words, features, dtype, init: Initialiser.normal(0.02) })
  const blocks = Array.from({ length: config.layers }, (_, n) => block(config, n))
  const norm = rmsNorm({ features, epsilon: config.epsilon, offset: gemma ? 1 : 0, dtype })
  const head = linear({ in: features, out: words, bias: false, dtype, init: Initialiser.normal(0.02) })
  const params: DecoderParams = {
    model: { embed_tokens: embed.params, layers: blocks.map((b) => b.params), norm: norm.params },
    lm_head: config.tied === true ? undefined : { weight: head.params.weight }
  }
  const hidden: Decoder["hidden"] = (p, { tokens, keyMask, caches }) => {
    const embedded = embed.apply(p.model.embed_tokens, tokens)
    let x = gemma ? (Tensor.mul(embedded, Math.sqrt(features)) as Tensor.Tensor) : embedded
    const next: Array<Cache> = []
    blocks.forEach((b, n) => {
      const own = p.model.layers[n] as Params.Tensors<DecoderLayerParams>
      const { out, cache } = b.apply(own, x, { keyMask, cache: caches?.[n] })
      x = out
      if (cache !== undefined) next.push(cache)
    })
    return { hidden: norm.apply(p.model.norm, x), caches: caches === undefined ? undefined : next }
  }
  const predict: Decoder["predict"] = (p, x) => {
    const table = (p.lm_head?.weight ?? p.model.embed_tokens.weight) as Tensor.Tensor
    return capped(unembed(table, x), config.wordSoftcap)
  }
  const layer = Layer.make(
    params,
    (p: Params.Tensors<DecoderParams>, inputs: DecoderInputs): DecoderOutput => {
      const { hidden: last, caches } = hidden(p, inputs)
      return { logits: predict(p, last), caches }
    }
  )
  const { heads, kvHeads = heads, headSize = features / heads } = config
  const kept = blocks.map((_, n) => ({ heads: kvHeads, size: headSize, window: config.windows?.[n] }))
  return { ...layer, config, words, dtype, kept, hidden, predict }
}
