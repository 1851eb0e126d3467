import { AttrError } from "../errors.ts"
import * as Mask from "../Mask.ts"
import * as Tensor from "../Tensor.ts"
import type { AttentionConfig, AttentionInputs } from "./attentionConfig.ts"

/**
 * Texts of several lengths one behind the other, without padding. Shapes: T rows in all; offsets i32 [D + 1], where each of D texts starts
 * and where the last one ends.
 */

/** For each of `length` rows and each offset whether the row stands at it or behind, bool [T, D + 1]. */
const reached = (offsets: Tensor.Tensor, length: number): Tensor.Tensor<"bool"> =>
  Tensor.le(offsets, Tensor.expandDims(Tensor.arange(length), 1) as Tensor.Tensor) as Tensor.Tensor<"bool">

/** The number of each row's text, i32 [T]. */
const textOf = (offsets: Tensor.Tensor, length: number): Tensor.Tensor =>
  Tensor.sum(Tensor.cast(reached(offsets, length), "i32"), -1) as Tensor.Tensor

/** Positions that start anew in each text, i32 [T]. */
export const positions = (offsets: Tensor.Tensor, length: number): Tensor.Tensor => {
  const start = Tensor.max(Tensor.where(reached(offsets, length), offsets, 0), -1)
  return Tensor.sub(Tensor.arange(length), start) as Tensor.Tensor
}

/** A position sees its own text. Throws `AttrError` for what means nothing over several texts. */
export const mask = (
  { offsets, keyOffsets = offsets, ...inputs }: AttentionInputs,
  config: AttentionConfig
): Mask.Keep | undefined => {
  if (offsets === undefined || keyOffsets === undefined) {
    if (keyOffsets === undefined) return undefined
    throw refuse("keyOffsets without offsets", "give offsets, those of the queries")
  }
  if (inputs.query.rank !== 2)
    throw refuse(`queries of ${inputs.query}`, "rows of all texts stand in one [T, F], without a batch")
  if (inputs.cache !== undefined)
    throw refuse("a cache", "keep a cache of pages, one table for each sequence")
  const ordered = [inputs.causal ?? config.causal, inputs.window ?? config.window]
  if (keyOffsets !== offsets && ordered.some((x) => x !== undefined && x !== false))
    throw refuse("causal or window, with keys of other texts", "mask by rule: Mask.keepWhere")
  const keys = inputs.keyHeads?.shape[2] ?? (inputs.key ?? inputs.query).shape[0]
  return Mask.document(textOf(offsets, inputs.query.shape[0] as number), textOf(keyOffsets, keys as number))
}

const refuse = (what: string, hint: string): AttrError =>
  new AttrError({ op: "attention", message: `offsets do not go together with ${what}`, hint })
