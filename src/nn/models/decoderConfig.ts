import type { FloatDType } from "../../../ir/DType.ts"
import { AttrError } from "../../errors.ts"
import type { Activation } from "../mlp.ts"
import type { RopeConfig, RopeScaling } from "../rope.ts"

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

type Json = { readonly [name: string]: unknown }

const op = "decoder"

const refuse = (message: string, hint: string): AttrError => new AttrError({ op, message, hint })

const number = (json: Json, name: string): number => {
  const value = json[name]
  if (typeof value === "number" && Number.isFinite(value)) return value
  throw refuse(
    `config.json: ${name} is ${JSON.stringify(value) ?? "missing"}`,
    "it is a number in the configuration of a model"
  )
}

const optional = (json: Json, name: string): number | undefined =>
  json[name] === undefined || json[name] === null ? undefined : number(json, name)

const activations: { readonly [name: string]: Activation } = {
  silu: "silu",
  gelu: "gelu",
  relu: "relu",
  gelu_pytorch_tanh: "geluTanh",
  gelu_new: "geluTanh"
}

const scalingOf = (json: Json): RopeScaling | undefined => {
  const scaling = json.rope_scaling as Json | null | undefined
  if (scaling === undefined || scaling === null) return undefined
  const kind = scaling.rope_type ?? scaling.type
  const factor = number(scaling, "factor")
  switch (kind) {
    case "linear":
      return { kind, factor }
    case "dynamic":
      throw refuse(
        "config.json: rope_scaling changes with the length",
        "set rope yourself, for the length you need"
      )
    case "llama3":
      return {
        kind,
        factor,
        trained: number(scaling, "original_max_position_embeddings"),
        low: number(scaling, "low_freq_factor"),
        high: number(scaling, "high_freq_factor")
      }
    case "yarn":
      return {
        kind,
        factor,
        trained:
          optional(scaling, "original_max_position_embeddings") ?? number(json, "max_position_embeddings"),
        betaFast: optional(scaling, "beta_fast"),
        betaSlow: optional(scaling, "beta_slow"),
        magnitude: optional(scaling, "attention_factor")
      }
    default:
      throw refuse(
        `config.json: rope_scaling of type ${JSON.stringify(kind)}`,
        "linear, llama3 and yarn are known"
      )
  }
}

const families = ["llama", "mistral", "qwen2", "qwen3", "gemma2"] as const

/**
 * The configuration of a model as Hugging Face writes it in `config.json`: Llama, Mistral, Qwen 2 and 3, Gemma 2. Throws `AttrError` for another family
 * and for what is missing, by name.
 */
export const decoderConfig = (json: Json): DecoderConfig => {
  const family = families.find((f) => f === json.model_type)
  if (family === undefined)
    throw refuse(
      `config.json: model_type is ${JSON.stringify(json.model_type)}`,
      `one of ${families.join(", ")}`
    )
  const layers = number(json, "num_hidden_layers")
  const gemma = family === "gemma2"
  const name = (json.hidden_activation ?? json.hidden_act ?? "silu") as string
  const activation = Object.hasOwn(activations, name) ? activations[name] : undefined
  if (activation === undefined)
    throw refuse(
      `config.json: the activation ${JSON.stringify(name)}`,
      `one of ${Object.keys(activations).join(", ")}`
    )
  const heads = number(json, "num_attention_heads")
  const window = json.use_sliding_window === false ? undefined : optional(json, "sliding_window")
  const queryScale = optional(json, "query_pre_attn_scalar")
  return {
    words: number(json, "vocab_size"),
    features: number(json, "hidden_size"),
    hidden: number(json, "intermediate_size"),
    layers,
    heads,
    kvHeads: optional(json, "num_key_value_heads") ?? heads,
    headSize: optional(json, "head_dim") ?? (gemma ? 256 : undefined),
    rope: { base: optional(json, "rope_theta") ?? 10000, scaling: scalingOf(json) },
    epsilon: optional(json, "rms_norm_eps") ?? 1e-6,
    activation,
    tied: json.tie_word_embeddings === true || (gemma && json.tie_word_embeddings !== false),
    qkvBias: family === "qwen2" || json.attention_bias === true,
    outBias: json.attention_bias === true,
    qkNorm: family === "qwen3",
    // A window of w positions holds the query's own. Gemma 2 has one in every second layer.
    windows:
      window === undefined
        ? undefined
        : Array.from({ length: layers }, (_, n) => (gemma && n % 2 === 1 ? undefined : window - 1)),
    gemma,
    softcap: optional(json, "attn_logit_softcapping"),
    wordSoftcap: optional(json, "final_logit_softcapping"),
    scale: queryScale === undefined ? undefined : queryScale ** -0.5
  }
}
