import type { FloatDType } from "../../ir/DType.ts"
import type { Spec } from "../spec.ts"
import type * as Tensor from "../Tensor.ts"
import type { Cache } from "./attentionConfig.ts"
import type * as Params from "./Params.ts"

/**
 * A model that predicts words from those before: what `generate` asks of one. Shapes: B sequences, T words of a call, F features, V words that
 * there are.
 */
export interface LanguageModel {
  readonly params: Params.Tree
  /** V. */
  readonly words: number
  readonly dtype: FloatDType
  /** What is kept of each layer's keys and values. */
  readonly kept: ReadonlyArray<Kept>
  /** Positions that the model knows, where they are counted. */
  readonly positions?: number | undefined
  /** What calls are given beside words, where that is anything. */
  readonly context?: Context | undefined
  /** All but the prediction of words. Its own parameters are the tensors of `params`. */
  readonly hidden: (params: never, inputs: Words) => Hidden
  /** Logits of words, [..., F] to [..., V]. */
  readonly predict: (params: never, hidden: Tensor.Tensor) => Tensor.Tensor
}

/** The keys and values of a layer: so many heads of this size. */
export interface Kept {
  readonly heads: number
  readonly size: number
  /** How far back a query sees, where it does not see all. */
  readonly window?: number | undefined
}

/** Tensors by name whose first axis is "B". */
export interface Context {
  /** What a person brings. */
  readonly given: { readonly [name: string]: Spec }
  /** What is made of it once, before the first call, and each call is given. */
  readonly made: { readonly [name: string]: Spec }
  readonly make: (params: never, given: Named) => Named
}

type Named = { readonly [name: string]: Tensor.Tensor }

export interface Words {
  /** i32 [B, T] */
  readonly tokens: Tensor.Tensor
  /** One for each layer. */
  readonly caches: ReadonlyArray<Cache>
  /** What `Context.make` made. */
  readonly context: Named
}

export interface Hidden {
  /** [B, T, F] */
  readonly hidden: Tensor.Tensor
  readonly caches: ReadonlyArray<Cache> | undefined
}
