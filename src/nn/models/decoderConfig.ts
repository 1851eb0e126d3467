import type { FloatDType } from "../../../ir/DType.ts"
import type { Activation } from "../mlp.ts"
import type { RopeConfig, RopeScaling } from "../rope.ts"
import { type Json, reader, refuse } from "./configFile.ts"

/**
 * A decoder of the Llama family: rotary positions, root-mean-square norms, gated feed-forward, grouped heads. Shapes: V words, F features,
 * H hidden features, N query heads, M key/value heads, D head size.
 */
export interface DecoderConfig {
  readonly words: number
  readonly features: number
  readonly hidden: number
  readonly layers: number
  readonly heads: number
  readonly kvHeads?: number | undefined
  readonly headSize?: number | undefined
  readonly rope?: RopeConfig | undefined
  readonly epsilon?: number | undefined
  readonly activation?: Activation | undefined
  /** Whether words are embedded and predicted by one table. */
  readonly tied?: boolean | undefined
  /** Biases of the projections of queries, keys and values: Qwen 2. */
  readonly qkvBias?: boolean | undefined
  /** A bias of the projection out. */
  readonly outBias?: boolean | undefined
  /** Heads of queries and keys are normalised: Qwen 3. */
  readonly qkNorm?: boolean | undefined
  /** Keys before a query that it sees besides its own, by layer; all where undefined. */
  readonly windows?: ReadonlyArray<number | undefined> | undefined
  /** Gemma 2: embeddings times √F, gains counted from 1, norms behind attention and feed-forward too. */
  readonly gemma?: boolean | undefined
  /** Logits of attention, and of words, through `cap * tanh(x / cap)`. */
  readonly softcap?: number | undefined
  readonly wordSoftcap?: number | undefined
  /** Multiplies attention's logits; 1 / √D unless told otherwise. */
  readonly scale?: number | undefined
  readonly dtype?: FloatDType | undefined
}

const op = "decoder"

const scalingOf = (json: Json): RopeScaling | undefined => {
  // Newer files have all of it in rope_parameters.
  const scaling = (json.rope_scaling ?? json.rope_parameters) as Json | null | undefined
  if (scaling === undefined || scaling === null) return undefined
  const { number, optional } = reader(op, scaling)
  const trained = (): number =>
    optional("original_max_position_embeddings") ?? reader(op, json).number("max_position_embeddings")
  const kind: unknown = scaling.rope_type ?? scaling.type ?? "default"
  switch (kind) {
    case "default":
      return undefined
    case "linear":
      return { kind, factor: number("factor") }
    case "dynamic":
      throw refuse(op, "rope_scaling changes with the length", "set rope yourself, for the length you need")
    case "llama3":
      return {
        kind,
        factor: number("factor"),
        trained: number("original_max_position_embeddings"),
        low: number("low_freq_factor"),
        high: number("high_freq_factor")
      }
    case "yarn":
      return {
        kind,
        factor: number("factor"),
        trained: trained(),
        betaFast: optional("beta_fast"),
        betaSlow: optional("beta_slow"),
        magnitude: optional("attention_factor")
      }
    default:
      throw refuse(op, `rope_scaling of type ${JSON.stringify(kind)}`, "linear, llama3 and yarn are known")
  }
}

const families = ["llama", "mistral", "qwen2", "qwen3", "gemma2"] as const

/** Which layers see a window only. A window of w positions holds the query's own. */
const windowsOf = (json: Json, layers: number): DecoderConfig["windows"] => {
  const { optional } = reader(op, json)
  const qwen = json.model_type === "qwen2" || json.model_type === "qwen3"
  const off = json.use_sliding_window === false || (qwen && json.use_sliding_window !== true)
  const window = off ? undefined : optional("sliding_window")
  if (window === undefined) return undefined
  const kinds = json.layer_types as ReadonlyArray<unknown> | null | undefined
  const first = optional("max_window_layers")
  const isNear = (n: number): boolean => {
    if (kinds !== undefined && kinds !== null) return kinds[n] === "sliding_attention"
    if (json.model_type === "gemma2") return n % 2 === 0
    // Qwen: the layers below see everything.
    return !qwen || first === undefined || n >= first
  }
  return Array.from({ length: layers }, (_, n) => (isNear(n) ? window - 1 : undefined))
}

/**
 * The configuration of a model as Hugging Face writes it in `config.json`: Llama, Mistral, Qwen 2 and 3, Gemma 2. Throws `AttrError` for another family
 * and for what is missing, by name.
 */
export const decoderConfig = (json: Json): DecoderConfig => {
  const family = families.find((f) => f === json.model_type)
  if (family === undefined)
    throw refuse(op, `model_type is ${JSON.stringify(json.model_type)}`, `one of ${families.join(", ")}`)
  const { number, optional, activation, never } = reader(op, json)
  never("mlp_bias", "the feed-forward has no biases here")
  const layers = number("num_hidden_layers")
  const gemma = family === "gemma2"
  const heads = number("num_attention_heads")
  const features = number("hidden_size")
  const queryScale = optional("query_pre_attn_scalar")
  const headSize = optional("head_dim") ?? (gemma ? 256 : undefined)
  const part = optional("partial_rotary_factor") ?? 1
  const base = optional("rope_theta") ?? ropeParameter(json, "rope_theta") ?? 10000
  return {
    words: number("vocab_size"),
    features,
    hidden: number("intermediate_size"),
    layers,
    heads,
    kvHeads: optional("num_key_value_heads") ?? heads,
    headSize,
    rope: {
      base,
      scaling: scalingOf(json),
      dims: part === 1 ? undefined : Math.floor((headSize ?? features / heads) * part)
    },
    epsilon: optional("rms_norm_eps") ?? 1e-6,
    activation: activation(["hidden_activation", "hidden_act"], gemma ? "geluTanh" : "silu"),
    tied: json.tie_word_embeddings === true || (gemma && json.tie_word_embeddings !== false),
    qkvBias: family === "qwen2" || json.attention_bias === true,
    // Qwen 2 has biases of queries, keys and values only.
    outBias: family !== "qwen2" && json.attention_bias === true,
    qkNorm: family === "qwen3",
    windows: windowsOf(json, layers),
    gemma,
    softcap: optional("attn_logit_softcapping"),
    wordSoftcap: optional("final_logit_softcapping"),
    scale: queryScale === undefined ? undefined : queryScale ** -0.5
  }
}

const ropeParameter = (json: Json, name: string): number | undefined =>
  typeof json.rope_parameters === "object" && json.rope_parameters !== null
    ? reader(op, json.rope_parameters as Json).optional(name)
    : undefined
