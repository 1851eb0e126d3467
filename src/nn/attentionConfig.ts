import type { FloatDType } from "../../ir/DType.ts"
import type * as Attention from "../Attention.ts"
import { AttrError } from "../errors.ts"
import type * as Tensor from "../Tensor.ts"
import type { Seed } from "../tensor/random.ts"
import type { Initialiser } from "./Initialiser.ts"
import type { Positions, RopeConfig } from "./rope.ts"
import { whole } from "./whole.ts"

/**
 * What an attention layer can be told. Shapes: B batch, T queries, S keys, N query heads, M key/value heads, D head size, E value
 * head size; F, FK, FV features of queries, keys and values; O features out.
 */
export interface AttentionConfig {
  /** F. */
  readonly features: number
  /** N. */
  readonly heads: number
  /** M; N unless told otherwise. N is a multiple of it. */
  readonly kvHeads?: number | undefined
  /** D; F / N unless told otherwise. */
  readonly headSize?: number | undefined
  /** E; D unless told otherwise. */
  readonly valueHeadSize?: number | undefined
  /** FK; F unless told otherwise. */
  readonly keyFeatures?: number | undefined
  /** FV; FK unless told otherwise. */
  readonly valueFeatures?: number | undefined
  /** O; F unless told otherwise. Several sizes give as many axes. */
  readonly outFeatures?: number | ReadonlyArray<number> | undefined
  /** Which projections add a bias; all unless told otherwise. */
  readonly bias?: boolean | Partial<Record<Projection, boolean>> | undefined
  /** Multiplies what attention gives, before the projection out, by sigmoid(gate(query)): Qwen, Keras' `use_gate`. */
  readonly gate?: boolean | undefined
  /** Normalises each head of queries and keys after their projection. */
  readonly qkNorm?: "layer" | "rms" | undefined
  readonly qkNormEpsilon?: number | undefined
  readonly rope?: RopeConfig | undefined
  /** A learned logit for each head that has no value. */
  readonly sinks?: boolean | undefined
  /** A learned key and value behind the others: PyTorch's `add_bias_kv`. */
  readonly extraKey?: boolean | undefined
  /** A key and value of zeros behind the others: PyTorch's `add_zero_attn`. */
  readonly zeroKey?: boolean | undefined
  /** 1 / √D unless told otherwise. */
  readonly scale?: number | undefined
  readonly softcap?: number | undefined
  /** Farther keys count less, by a slope of each head (Press, Smith & Lewis 2022, arXiv 2108.12409). */
  readonly alibi?: boolean | undefined
  /** Anything else that becomes of the logits, behind the softcap. */
  readonly score?: Attention.Options["score"]
  readonly window?: Attention.Options["window"]
  /** Each query sees keys up to its own position; `"bottom-right"` aligns the last query with the last key, `"top-left"` the first. */
  readonly causal?: boolean | Alignment | undefined
  readonly fill?: number | undefined
  readonly dropout?: number | undefined
  readonly broadcastDropout?: boolean | undefined
  /** Of the parameters; f32 unless told otherwise. */
  readonly dtype?: FloatDType | undefined
  /** What inputs and parameters are cast to before anything is computed; they promote unless told otherwise. Sums are f32 in any case. */
  readonly compute?: FloatDType | undefined
  /** How projections start; glorot uniform, biases with zeros, unless told otherwise. */
  readonly init?: Partial<Record<Projection, Initialiser>> | undefined
  readonly biasInit?: Initialiser | Partial<Record<Projection, Initialiser>> | undefined
  /** In place of `Attention.stages`: anything that takes heads and gives heads. */
  readonly attention?:
    | ((q: Tensor.Tensor, k: Tensor.Tensor, v: Tensor.Tensor, options: Attention.Options) => Attention.Stages)
    | undefined
}

export type Projection = "query" | "key" | "value" | "out" | "gate"

/** Which query meets which key in a causal mask where there are more keys than queries. */
export type Alignment = "bottom-right" | "top-left"

/** What a call brings. */
export interface AttentionInputs {
  /** [..., T, F]: any number of batch axes, none included. */
  readonly query: Tensor.Tensor
  /** [..., S, FK]; the query unless told otherwise. */
  readonly key?: Tensor.Tensor | undefined
  /** [..., S, FV]; the key unless told otherwise. */
  readonly value?: Tensor.Tensor | undefined
  /** Heads that are projected already, [B, M, S, D] and [B, M, S, E], in place of `key` and `value`. They are taken as they are. */
  readonly keyHeads?: Tensor.Tensor | undefined
  readonly valueHeads?: Tensor.Tensor | undefined
  /** As in `Attention.Options`: true keeps. Tensors broadcast to [B, N, T, S]. */
  readonly mask?: Attention.Options["mask"]
  /** Added to the logits; broadcasts to [B, N, T, S]. */
  readonly bias?: Tensor.Tensor | undefined
  /** bool [B, T], [B, S], [B, S]: true where a position takes part. A row of a query that does not gives 0. */
  readonly queryMask?: Tensor.Tensor | undefined
  readonly keyMask?: Tensor.Tensor | undefined
  readonly valueMask?: Tensor.Tensor | undefined
  /** How many queries and keys each entry of the batch has, i32 [B]. */
  readonly queryLengths?: Tensor.Tensor | undefined
  readonly keyLengths?: Tensor.Tensor | undefined
  /**
   * Texts of several lengths one behind the other in [T, F], without padding: where each starts, and where the last ends, i32. A position sees
   * its own text; positions for RoPE start anew in each.
   */
  readonly offsets?: Tensor.Tensor | undefined
  /** Those of the keys where they differ. */
  readonly keyOffsets?: Tensor.Tensor | undefined
  /** Beats the configuration. */
  readonly causal?: boolean | Alignment | undefined
  readonly window?: Attention.Options["window"]
  /** Where rows stand for RoPE; after what the cache holds unless told otherwise. */
  readonly positions?: Positions | undefined
  /** Whether dropout is on; off unless told otherwise. On, it needs a seed. */
  readonly training?: boolean | undefined
  readonly seed?: Seed | undefined
  readonly cache?: Cache | undefined
}

/** Keys and values of earlier calls: [B, M, C, D] and [B, M, C, E] of which each entry has used `length`, an i32 scalar or [B]. */
export interface Cache {
  readonly key: Tensor.Tensor
  readonly value: Tensor.Tensor
  readonly length: Tensor.Tensor
  /** Positions past C start again at 0: a ring, for windows. It holds a window and the keys of a call: C ≥ window + T. */
  readonly ring?: boolean | undefined
  /**
   * i32 [B, W]: keys and values are then pages of a pool, [P, R, M, D] and [P, R, M, E], and position p of entry b is row p mod R of page
   * `table[b, p div R]`. Entries may share pages that are full; no two write to one.
   */
  readonly table?: Tensor.Tensor | undefined
}

/** What a call gives. */
export interface AttentionOutput {
  /** [..., T, O] */
  readonly out: Tensor.Tensor
  /** The steps in between, [B, N, T, S]. What is not returned is not computed. */
  readonly stages: Attention.Stages
  /** With this call's keys and values; present where a cache came in. */
  readonly cache: Cache | undefined
}

/** A configuration with nothing left open. */
export interface Sizes {
  readonly features: number
  readonly keyFeatures: number
  readonly valueFeatures: number
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  readonly valueHeadSize: number
  readonly out: ReadonlyArray<number>
}

/** The sizes of a layer. Throws `AttrError` for sizes that do not fit together, naming the option. */
export const sizesOf = (config: AttentionConfig): Sizes => {
  const refuse = (message: string, hint: string) => new AttrError({ op: "attention", message, hint })
  const { features, heads } = config
  const kvHeads = config.kvHeads ?? heads
  whole("attention", { features, heads, kvHeads })
  if (config.headSize === undefined && features % heads !== 0) {
    throw refuse(
      `${features} features do not divide by ${heads} heads`,
      "choose other heads, or give headSize"
    )
  }
  if (heads % kvHeads !== 0)
    throw refuse(
      `${heads} query heads are not a multiple of ${kvHeads} key/value heads`,
      "choose kvHeads that divides heads"
    )
  const headSize = config.headSize ?? features / heads
  const keyFeatures = config.keyFeatures ?? features
  const valueFeatures = config.valueFeatures ?? keyFeatures
  const valueHeadSize = config.valueHeadSize ?? headSize
  const outFeatures = config.outFeatures ?? features
  const out = typeof outFeatures === "number" ? [outFeatures] : outFeatures
  const sizes = { features, heads, kvHeads, headSize, valueHeadSize, keyFeatures, valueFeatures }
  whole("attention", sizes)
  for (const size of out) whole("attention", { outFeatures: size })
  const { dropout = 0 } = config
  if (!(dropout >= 0 && dropout <= 1)) throw refuse(`dropout is ${dropout}`, "use a probability, 0 to 1")
  const { scale = 1, causal = false, qkNorm = "rms" } = config
  if (!Number.isFinite(scale)) throw refuse(`scale is ${scale}`, "use a finite number")
  if (typeof causal !== "boolean" && causal !== "bottom-right" && causal !== "top-left")
    throw refuse(`causal is ${JSON.stringify(causal)}`, "true, false, bottom-right or top-left")
  if (qkNorm !== "rms" && qkNorm !== "layer")
    throw refuse(`qkNorm is ${JSON.stringify(qkNorm)}`, "layer or rms")
  return { ...sizes, out }
}

/** Whether a projection adds a bias. */
export const hasBias = ({ bias = true }: AttentionConfig, of: Projection): boolean =>
  typeof bias === "boolean" ? bias : (bias[of] ?? true)
