import type { FloatDType } from "../../../ir/DType.ts"
import * as Tensor from "../../Tensor.ts"
import type { Cache } from "../attentionConfig.ts"
import { unembed } from "../embedding.ts"
import * as Initialiser from "../Initialiser.ts"
import type { Hidden, LanguageModel } from "../LanguageModel.ts"
import * as Layer from "../Layer.ts"
import type { LinearParams } from "../linear.ts"
import type { Activation } from "../mlp.ts"
import { layerNorm, type NormParams } from "../norm.ts"
import * as Params from "../Params.ts"
import { type TransformerParams, transformerLayer } from "../transformer.ts"

/** GPT-2 (Radford et al. 2019). Shapes: V words, P positions, F features. */
export interface Gpt2Config {
  readonly words: number
  readonly positions: number
  readonly features: number
  readonly layers: number
  readonly heads: number
  /** 4 F unless told otherwise. */
  readonly hidden?: number | undefined
  readonly epsilon?: number | undefined
  readonly activation?: Activation | undefined
  readonly dtype?: FloatDType | undefined
}

/** weight [I, O], as GPT-2 keeps it, and bias [O]. */
type Conv = { readonly weight: Params.Param; readonly bias: Params.Param }

export type Gpt2LayerParams = {
  readonly ln_1: NormParams
  readonly attn: { readonly c_attn: Conv; readonly c_proj: Conv }
  readonly ln_2: NormParams
  readonly mlp: { readonly c_fc: Conv; readonly c_proj: Conv }
}

/** Parameters by the names of Hugging Face. */
export type Gpt2Params = {
  readonly wte: { readonly weight: Params.Param }
  readonly wpe: { readonly weight: Params.Param }
  readonly h: ReadonlyArray<Gpt2LayerParams>
  readonly ln_f: NormParams
}

export interface Gpt2Inputs {
  /** i32 [B, T] */
  readonly tokens: Tensor.Tensor
  readonly caches?: ReadonlyArray<Cache> | undefined
}

export interface Gpt2Output {
  /** [B, T, V] */
  readonly logits: Tensor.Tensor
  readonly caches: ReadonlyArray<Cache> | undefined
}

const conv = (from: number, to: number, dtype: FloatDType): Conv => ({
  weight: Params.param(dtype, [from, to], Initialiser.normal(0.02)),
  bias: Params.param(dtype, [to], Initialiser.zeros)
})

const linearOf = ({ weight, bias }: Params.Tensors<Conv>): Params.Tensors<LinearParams> =>
  ({ weight: Tensor.transpose(weight as Tensor.Tensor), bias }) as Params.Tensors<LinearParams>

/** Part n of three: columns of the weight, elements of the bias. */
const third = (
  { weight, bias }: Params.Tensors<Conv>,
  n: number,
  features: number
): Params.Tensors<LinearParams> => {
  const part = { start: n * features, stop: (n + 1) * features }
  return linearOf({
    weight: Tensor.slice(weight as Tensor.Tensor, 1, part),
    bias: Tensor.slice(bias as Tensor.Tensor, 0, part)
  } as Params.Tensors<Conv>)
}

export interface Gpt2 extends Layer.Layer<Gpt2Params, Gpt2Inputs, Gpt2Output>, LanguageModel {
  readonly params: Gpt2Params
}

export const gpt2 = (config: Gpt2Config): Gpt2 => {
  const { words, positions, features, hidden = 4 * features, dtype = "f32" } = config
  const block = transformerLayer({
    features,
    hidden,
    heads: config.heads,
    activation: config.activation ?? "geluTanh",
    causal: true,
    epsilon: config.epsilon,
    dtype
  })
  const norm = layerNorm({ features, epsilon: config.epsilon, dtype })
  const own = (): Gpt2LayerParams => ({
    ln_1: norm.params,
    attn: { c_attn: conv(features, 3 * features, dtype), c_proj: conv(features, features, dtype) },
    ln_2: norm.params,
    mlp: { c_fc: conv(features, hidden, dtype), c_proj: conv(hidden, features, dtype) }
  })
  const params: Gpt2Params = {
    wte: { weight: Params.param(dtype, [words, features], Initialiser.normal(0.02)) },
    wpe: { weight: Params.param(dtype, [positions, features], Initialiser.normal(0.01)) },
    h: Array.from({ length: config.layers }, own),
    ln_f: norm.params
  }
  const hiddenOf = (p: Params.Tensors<Gpt2Params>, { tokens, caches }: Gpt2Inputs): Hidden => {
    const table = p.wte.weight as Tensor.Tensor
    const count = Tensor.arange(tokens.shape[1] as number)
    const first = caches?.[0]?.length
    const at = first === undefined ? count : Tensor.add(Tensor.reshape(first, [-1, 1]), count)
    const place = Tensor.take(p.wpe.weight as Tensor.Tensor, at as never, 0)
    let x = Tensor.add(Tensor.take(table, tokens as never, 0), place) as Tensor.Tensor
    const next: Array<Cache> = []
    p.h.forEach((layer, n) => {
      const { ln_1, attn, ln_2, mlp } = layer as Params.Tensors<Gpt2LayerParams>
      const [query, key, value] = [0, 1, 2].map((part) => third(attn.c_attn, part, features))
      const inner = {
        attention: { query, key, value, out: linearOf(attn.c_proj) },
        attentionNorm: ln_1,
        mlp: { up: linearOf(mlp.c_fc), down: linearOf(mlp.c_proj) },
        mlpNorm: ln_2
      } as unknown as Params.Tensors<TransformerParams>
      const { out, cache } = block.apply(inner, { x, cache: caches?.[n] })
      x = out
      if (cache !== undefined) next.push(cache)
    })
    return { hidden: norm.apply(p.ln_f, x), caches: caches === undefined ? undefined : next }
  }
  const predict = (p: Params.Tensors<Gpt2Params>, x: Tensor.Tensor): Tensor.Tensor =>
    unembed(p.wte.weight as Tensor.Tensor, x)
  const layer = Layer.make(params, (p: Params.Tensors<Gpt2Params>, inputs: Gpt2Inputs): Gpt2Output => {
    const { hidden: last, caches } = hiddenOf(p, inputs)
    return { logits: predict(p, last), caches }
  })
  const kept = Array.from({ length: config.layers }, () => ({
    heads: config.heads,
    size: features / config.heads
  }))
  return { ...layer, words, dtype, positions, kept, hidden: hiddenOf, predict }
}
