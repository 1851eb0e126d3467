import type * as Attention from "../Attention.ts"
import { AttrError } from "../errors.ts"
import * as Mask from "../Mask.ts"
import * as Tensor from "../Tensor.ts"
import type { Alignment, AttentionConfig, AttentionInputs, Cache } from "./attentionConfig.ts"
import * as Offsets from "./offsets.ts"

/** All masks of a call as one mask and what is added to the logits. */

/** A bool tensor as it is; numbers are true where they are not 0. */
const asBool = (x: Tensor.Tensor): Tensor.Tensor<"bool"> =>
  (x.dtype === "bool" ? x : Tensor.ne(x, 0)) as Tensor.Tensor<"bool">

/** A tensor over [..., N, T, S] as one over [B, N, T, S], where there are several batch axes. */
const flat = (x: Tensor.Tensor, lead: ReadonlyArray<number | string>): Tensor.Tensor => {
  if (x.rank <= 4 || lead.length < 2) return x
  const inner = x.shape.slice(-3) as ReadonlyArray<number>
  const full = Tensor.broadcastTo(x, [...(lead as ReadonlyArray<number>), ...inner])
  return Tensor.reshape(full, [-1, ...inner]) as Tensor.Tensor
}

/** Keys that attention has: those that masks know, and some behind them. */
interface Keys {
  readonly known: number
  readonly extra: number
}

/** Keys behind those that masks know are seen by all: the last axis grows by so many times true, or 0. */
const extended = (own: Tensor.Tensor, { known, extra }: Keys): Tensor.Tensor => {
  if (extra === 0) return own
  // One entry for all keys is for those that masks know.
  const x = Tensor.broadcastTo(own, [
    ...(own.shape.slice(0, -1) as ReadonlyArray<number>),
    known
  ]) as Tensor.Tensor
  const none = x.shape.map(() => [0, 0] as const)
  const widths = [...none.slice(0, -1), [0, extra] as const]
  if (x.dtype !== "bool") return Tensor.pad(x, widths) as Tensor.Tensor
  return asBool(Tensor.pad(Tensor.cast(x, "i32"), widths, 1) as Tensor.Tensor)
}

const causalMask = (causal: boolean | Alignment | undefined): Mask.Keep | undefined =>
  causal === undefined || causal === false
    ? undefined
    : causal === "top-left"
      ? Mask.causal
      : Mask.causalBottomRight

/** [B, T] over the scores' queries, [B, S] over their keys; [T] and [S] for all entries. */
const along = (axis: "queries" | "keys", x: Tensor.Tensor): Tensor.Tensor => {
  const length = x.shape.at(-1) as number
  const batch = x.rank === 1 ? [1] : [x.shape[0] as number]
  return Tensor.reshape(
    x,
    axis === "queries" ? [...batch, 1, length, 1] : [...batch, 1, 1, length]
  ) as Tensor.Tensor
}

/** Rows and columns that take part, as a mask over scores. */
export const combine = (
  config: AttentionConfig,
  inputs: AttentionInputs,
  keys: Keys,
  cache: Cache | undefined
): Pick<Attention.Options, "mask" | "bias" | "window"> => {
  const keeps: Array<Mask.Mask> = []
  const lead = inputs.query.shape.slice(0, -2)
  const { extra } = keys
  const over = (x: Tensor.Tensor): Tensor.Tensor => extended(flat(x, lead), keys)
  let bias = inputs.bias === undefined ? undefined : over(inputs.bias)
  /** A mask over positions, which knows nothing of the keys behind. */
  const positional = (mask: Mask.Keep): void => {
    keeps.push(extra === 0 ? mask : besides(mask, extra))
  }
  const { mask } = inputs
  if (mask === "causal") positional(Mask.causalBottomRight)
  else if (Mask.isMask(mask)) keeps.push(mask)
  else if (mask !== undefined) {
    if (!Tensor.isTensor(mask))
      throw new AttrError({ message: "the mask is no mask", hint: 'use "causal", a tensor, or a Mask' })
    if (mask.dtype === "bool") keeps.push(Mask.fromTensor(over(mask) as Tensor.Tensor<"bool">))
    else bias = bias === undefined ? over(mask) : (Tensor.add(bias, over(mask)) as Tensor.Tensor)
  }
  const { queryMask, keyMask, valueMask, queryLengths, keyLengths } = inputs
  if (queryMask !== undefined) keeps.push(Mask.fromTensor(asBool(along("queries", queryMask))))
  for (const side of [keyMask, valueMask]) {
    if (side !== undefined) keeps.push(Mask.fromTensor(asBool(extended(along("keys", asBool(side)), keys))))
  }
  if (keyLengths !== undefined) positional(Mask.padding(keyLengths as Tensor.Tensor<"i32">))
  if (queryLengths !== undefined) {
    const lengths = along("queries", Tensor.reshape(queryLengths, [-1, 1]) as Tensor.Tensor)
    keeps.push(Mask.keepWhere(({ query }) => Tensor.lt(query, lengths) as Tensor.Tensor<"bool">))
  }
  const own = Offsets.mask(inputs, config)
  if (own !== undefined) positional(own)
  const causal = inputs.causal ?? config.causal
  const window = inputs.window ?? config.window
  const [left, right] = typeof window === "number" ? [window, 0] : (window ?? [Infinity, Infinity])
  if (cache === undefined) {
    const past = causalMask(causal)
    if (past !== undefined) positional(past)
    if (window !== undefined) positional(aligned(Mask.slidingWindow(left, right)))
  } else {
    const length = cache.length as Tensor.Tensor<"i32">
    // Keys of a cache past the newest query hold nothing yet.
    if (cache.ring === true) positional(Mask.shift(inRing(left, cache, inputs.query), length))
    else {
      positional(Mask.causalFrom(length))
      if (window !== undefined) positional(Mask.shift(Mask.slidingWindow(left, right), length))
    }
  }
  const [first, ...rest] = keeps.map((m) => (m._tag === "Keep" ? m : Mask.toKeep(m)))
  const all = first === undefined ? undefined : rest.reduce<Mask.Keep>((a, b) => Mask.and(a, b), first)
  return { mask: all, bias }
}

/**
 * A window over a ring: the key in place s of C stands as far behind a query at p as p - s modulo C. What a call writes over lies past every
 * window, which is as long as fits unless told otherwise.
 */
const inRing = (left: number, cache: Cache, query: Tensor.Tensor): Mask.Keep => {
  if (cache.table !== undefined)
    throw new AttrError({
      op: "attention",
      message: "a cache is a ring or has pages, not both",
      hint: "leave one out"
    })
  const [capacity, length] = [cache.key.shape[2], query.shape.at(-2)]
  if (
    typeof capacity === "number" &&
    typeof length === "number" &&
    left !== Infinity &&
    capacity < left + length
  )
    throw new AttrError({
      op: "attention",
      message: `a ring of ${capacity} does not hold a window of ${left} and ${length} new keys`,
      hint: `use one of ${left + length} or more`
    })
  return Mask.keepWhere(({ query: own, key, keys, queries }) => {
    const behind = Tensor.mod(Tensor.sub(own, key), keys)
    const reach = left === Infinity ? Tensor.sub(keys, queries) : left
    return Tensor.and(Tensor.le(behind, reach), Tensor.le(behind, own)) as Tensor.Tensor<"bool">
  })
}

/** A mask over all keys but the last `extra`, which every query sees. */
const besides = (mask: Mask.Keep, extra: number): Mask.Keep =>
  Mask.keepWhere((grid) => {
    const keys = Tensor.sub(grid.keys, extra) as Tensor.Tensor<"i32">
    const { query, key, batch, head, queries, rank } = grid
    const own = mask.holds({ query, key, batch, head, queries, keys, rank })
    return Tensor.or(own, Tensor.ge(key, keys)) as Tensor.Tensor<"bool">
  })

/** A window around a query's own position, which is that of the key as far from the end. */
const aligned = (near: Mask.Keep): Mask.Keep =>
  Mask.keepWhere((grid) =>
    Mask.shift(near, Tensor.sub(grid.keys, grid.queries) as Tensor.Tensor<"i32">).holds(grid)
  )
