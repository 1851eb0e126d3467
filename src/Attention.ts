import * as Dim from "../ir/Dim.ts"
import * as DType from "../ir/DType.ts"
import * as Mask from "./Mask.ts"
import * as Score from "./Score.ts"
import * as Tensor from "./Tensor.ts"
import type { At } from "./tensor/axes.ts"
import type { Dims, HasRank, Refused, Show, Size, Unify } from "./tensor/dims.ts"
import type { Promote } from "./tensor/operand.ts"
import { type DropoutOptions, dropout, dropoutMask } from "./tensor/random.ts"
import * as Site from "./tensor/Site.ts"

/**
 * Attention, written with the same operations that a person would use: what fuses here fuses elsewhere.
 *
 * Shapes: B batch, N query heads, M key/value heads (N is a multiple of M), T queries, S keys, D head size, E value head size.
 */

export interface Options {
  /** Multiplies the logits; 1 / √D unless told otherwise. */
  readonly scale?: number | undefined
  /**
   * Who sees what. `"causal"`: key j ≤ query i + S - T, the bottom-right alignment. A bool tensor: true where a key takes part. A
   * float tensor: added to the logits. Tensors broadcast to [B, N, T, S]. Or a `Mask`.
   */
  readonly mask?: "causal" | Tensor.Tensor | Mask.Mask | undefined
  /** Anything else that becomes of the logits, after the softcap and before the bias: `Score.alibi(8)`. */
  readonly score?: Score.Score | undefined
  /** Added to the logits, after the softcap and before the mask; broadcasts to [B, N, T, S]. */
  readonly bias?: Tensor.Tensor | undefined
  /** `softcap * tanh(logits / softcap)`, after the scale. */
  readonly softcap?: number | undefined
  /** How many keys before a query, and after it, it sees besides its own position i + S - T; none after it where one number is given. */
  readonly window?: number | readonly [left: number, right: number] | undefined
  /** One logit for each query head, [N]: a column of the softmax that has no value. */
  readonly sinks?: Tensor.Tensor | undefined
  /** The score of a key that a mask takes out: -inf unless told otherwise, so that a row without keys gives 0. */
  readonly fill?: number | undefined
  /**
   * `"f64"`: logits, softmax and sums in float64, of q, k and v as they are stored; the result is rounded once. The same as casting
   * the three to f64 and the result back. WebGPU has no such numbers, and refuses.
   */
  readonly accumulate?: "f64" | undefined
  /** Weights that become 0 at random, after the softmax; `broadcast` draws once for all batch entries and heads. */
  readonly dropout?: (DropoutOptions & { readonly broadcast?: boolean | undefined }) | undefined
}

/** What attention is made of, step by step; all but the result are [B, N, T, S]. What is not used costs nothing. */
export interface Stages {
  /** Scaled products of queries and keys. */
  readonly logits: Tensor.Tensor
  /** After the softcap. */
  readonly capped: Tensor.Tensor
  /** After score, bias, mask and window: what the softmax takes. */
  readonly scores: Tensor.Tensor
  /** After the softmax, f32 or f64. */
  readonly weights: Tensor.Tensor
  /** After dropout, f32 or f64. */
  readonly kept: Tensor.Tensor
  /** [B, N, T, E] */
  readonly result: Tensor.Tensor
}

/** The result's type: queries' axes, with the size of the values. */
type Attended<Q extends Tensor.Tensor, K extends Tensor.Tensor, V extends Tensor.Tensor> = Tensor.Tensor<
  Promote<Promote<Q["dtype"], K["dtype"]>, V["dtype"]>,
  Q["shape"]["length"] extends 4
    ? readonly [Q["shape"][0], Q["shape"][1], Q["shape"][2], At<V["shape"], -1>]
    : Dims
>

type Rank4 = readonly [Size, Size, Size, Size]

/** `unknown` where two operands have rank 4 (or one that is not known) and agree at an axis, the reason where they do not. */
type Agree<A extends Dims, B extends Dims, Axis extends keyof Rank4 & number, Names extends string> =
  HasRank<A> extends false
    ? unknown
    : HasRank<B> extends false
      ? unknown
      : [A, B] extends [Rank4, Rank4]
        ? [Unify<A[Axis], B[Axis]>] extends [never]
          ? Refused<`attention: axis ${Axis} of ${Names} differs: ${Show<A>} and ${Show<B>}`>
          : unknown
        : Refused<`attention: ${Names} have rank 4, not ${Show<A>} and ${Show<B>}`>

/** Queries and keys share the batch and the head size. */
type KeysFit<Q extends Tensor.Tensor, K extends Tensor.Tensor> = Agree<Q["shape"], K["shape"], 0, "q and k"> &
  Agree<Q["shape"], K["shape"], 3, "q and k">

/** Keys and values share the batch, their heads and their length. */
type ValuesFit<K extends Tensor.Tensor, V extends Tensor.Tensor> = Agree<
  K["shape"],
  V["shape"],
  0,
  "k and v"
> &
  Agree<K["shape"], V["shape"], 1, "k and v"> &
  Agree<K["shape"], V["shape"], 2, "k and v">

const op = "scaledDotProductAttention"

const given = (q: Tensor.Tensor, k: Tensor.Tensor, v: Tensor.Tensor): string => `given q ${q}, k ${k}, v ${v}`

/** How many query heads share a key/value head. Throws where the three do not fit. */
const groups = (q: Tensor.Tensor, k: Tensor.Tensor, v: Tensor.Tensor): number => {
  const refuse = (why: string, hint: string) => Site.shapeError(op, `${why}, ${given(q, k, v)}`, hint)
  for (const x of [q, k, v]) {
    if (!Tensor.isTensor(x))
      throw Site.dtypeError(op, "q, k and v are tensors", "pass three tensors, then options")
  }
  if ([q, k, v].some((x) => x.rank !== 4)) {
    throw refuse("q, k and v have rank 4", "bring them to [B, N, T, D]; expandDims adds a batch or a head")
  }
  const [[qb, qn, , qd], [kb, kn, ks, kd], [vb, vn, vs]] = [q, k, v].map(
    (x) => Tensor.nodeOf(x).type.shape
  ) as [Four, Four, Four]
  if (!Dim.canEqual(qb, kb) || !Dim.canEqual(qb, vb))
    throw refuse("the batches differ", "q, k and v share the batch")
  if (!Dim.canEqual(qd, kd))
    throw refuse(`q has heads of ${qd.key}, k of ${kd.key}`, "q and k share the last axis")
  if (!Dim.canEqual(kn, vn)) throw refuse(`k has ${kn.key} heads, v ${vn.key}`, "k and v share their heads")
  if (!Dim.canEqual(ks, vs)) throw refuse(`k has ${ks.key} keys, v ${vs.key}`, "k and v share their length")
  const group = Dim.divideExact(qn, kn)
  const count = group === undefined ? undefined : Dim.value(group)
  if (count === undefined || count < 1) {
    throw refuse(
      `${qn.key} query heads are not a multiple of ${kn.key} key/value heads`,
      "pass k and v with their own heads, not repeated"
    )
  }
  return count
}

type Four = readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]

const floatType = (q: Tensor.Tensor, k: Tensor.Tensor, v: Tensor.Tensor): DType.DType => {
  const dtype = [q, k, v].map((x) => x.dtype).reduce(DType.promote)
  if (DType.isFloat(dtype)) return dtype
  throw Site.dtypeError(op, `takes floats, ${given(q, k, v)}`, "Tensor.cast(x, 'f32')")
}

/** A tensor that is added to logits must not change what comes out. */
const additive = (name: string, x: Tensor.Tensor, dtype: DType.DType): Score.Score => {
  if (!DType.isFloat(x.dtype) || DType.promote(x.dtype, dtype) !== dtype) {
    throw Site.dtypeError(
      op,
      `a ${name} of ${x.dtype} does not promote to ${dtype}`,
      `cast it: Tensor.cast(${name}, "${dtype}")`
    )
  }
  return Score.bias(x)
}

const masked = (
  scores: Tensor.Tensor,
  mask: Options["mask"],
  dtype: DType.DType,
  fill: number | undefined
): Tensor.Tensor => {
  if (mask === undefined) return scores
  if (mask === "causal") return Mask.apply(scores, Mask.causalBottomRight, fill)
  if (Mask.isMask(mask)) return Mask.apply(scores, mask, fill)
  if (!Tensor.isTensor(mask))
    throw Site.attrError(op, `${JSON.stringify(mask)} is not a mask`, 'use "causal", a tensor, or a Mask')
  if (mask.dtype === "bool") return Mask.apply(scores, Mask.fromTensor(mask as Tensor.Tensor<"bool">), fill)
  return additive("mask", mask, dtype)(scores as Tensor.Tensor<DType.FloatDType>)
}

const windowed = (
  scores: Tensor.Tensor,
  window: Options["window"],
  fill: number | undefined
): Tensor.Tensor => {
  if (window === undefined) return scores
  const [left, right] = typeof window === "number" ? [window, 0] : window
  return Mask.apply(scores, Mask.shift(Mask.slidingWindow(left, right), lengthDifference(scores)), fill)
}

/** S - T, the position of the first query where the last one meets the last key. */
const lengthDifference = (scores: Tensor.Tensor): Dim.Dim => {
  const [, , queries, keys] = Tensor.nodeOf(scores).type.shape as Four
  return Dim.sub(keys, queries)
}

/** The softmax over keys and, where there are sinks, over one column more, which is dropped again. */
const weigh = (
  scores: Tensor.Tensor,
  sinks: Tensor.Tensor | undefined,
  q: Tensor.Tensor,
  dtype: DType.DType
): Tensor.Tensor => {
  const exact = Tensor.cast(scores, dtype === "f64" ? "f64" : "f32")
  if (sinks === undefined) return Tensor.softmax(exact, -1)
  const heads = Tensor.nodeOf(q).type.shape[1] as Dim.Dim
  const [own] = Tensor.nodeOf(sinks).type.shape
  if (sinks.rank !== 1 || own === undefined || !Dim.canEqual(own, heads)) {
    throw Site.shapeError(
      op,
      `sinks are [${heads.key}], one for each query head, given ${sinks}`,
      "reshape them to a vector"
    )
  }
  if (!DType.isFloat(sinks.dtype) || DType.promote(sinks.dtype, dtype) !== dtype) {
    throw Site.dtypeError(
      op,
      `sinks of ${sinks.dtype} do not promote to ${dtype}`,
      `cast them: Tensor.cast(sinks, "${dtype}")`
    )
  }
  const shape = Tensor.nodeOf(exact).type.shape
  const column = Tensor.broadcastTo(Tensor.reshape(Tensor.cast(sinks, exact.dtype), [heads, 1, 1]), [
    ...shape.slice(0, 3),
    1
  ])
  const weights = Tensor.softmax(Tensor.concat([exact, column], -1), -1)
  return Tensor.slice(weights, -1, { start: 0, stop: shape[3] as Dim.Dim })
}

/**
 * `softmax(scale * q·kᵀ + mask) · v`, with the meaning of MLX's `fast.scaled_dot_product_attention` (0.32): q [B, N, T, D],
 * k [B, M, S, D], v [B, M, S, E] to [B, N, T, E]. Key/value heads are not repeated by the caller: query head n reads head n div (N / M).
 *
 * The result's dtype is what q, k and v promote to; the softmax is f32 (f64 for f64, or where `accumulate` says so). A row whose keys all are masked gives 0.
 * Order: scale, softcap, score, bias, mask, window, sinks, softmax, dropout.
 *
 * Throws `ShapeError` for another rank, heads that do not divide, sizes that differ; `DTypeError` for integers and for a mask, bias or
 * sinks that would widen the result.
 */
export const scaledDotProductAttention: {
  <K extends Tensor.Tensor, V extends Tensor.Tensor>(
    k: K,
    v: V & ValuesFit<K, V>,
    options?: Options
  ): <Q extends Tensor.Tensor>(q: Q & KeysFit<Q, K>) => Attended<Q, K, V>
  <Q extends Tensor.Tensor, K extends Tensor.Tensor, V extends Tensor.Tensor>(
    q: Q,
    k: K & KeysFit<Q, K>,
    v: V & ValuesFit<K, V>,
    options?: Options
  ): Attended<Q, K, V>
} = Site.dual(
  (args) => Tensor.isTensor(args[2]),
  (q: Tensor.Tensor, k: Tensor.Tensor, v: Tensor.Tensor, options: Options = {}) =>
    attend(q, k, v, options).result
)

/** The steps of `scaledDotProductAttention`, for those who want to see or return one. Throws what it throws. */
export const stages: (q: Tensor.Tensor, k: Tensor.Tensor, v: Tensor.Tensor, options?: Options) => Stages =
  Site.dual(
    () => true,
    (q: Tensor.Tensor, k: Tensor.Tensor, v: Tensor.Tensor, options: Options = {}) => attend(q, k, v, options)
  )

const attend = (q: Tensor.Tensor, k: Tensor.Tensor, v: Tensor.Tensor, options: Options): Stages => {
  const group = groups(q, k, v)
  const own = floatType(q, k, v)
  const dtype = accumulated(options) ?? own
  const [queries, keys, values] = [q, k, v].map((x) => Tensor.cast(x, dtype)) as [
    Tensor.Tensor,
    Tensor.Tensor,
    Tensor.Tensor
  ]
  const repeated = (x: Tensor.Tensor): Tensor.Tensor => Tensor.repeatHeads(x, group)
  const logits = Tensor.mul(
    Tensor.matmul(queries, Tensor.transpose(repeated(keys))),
    options.scale ?? defaultScale(q)
  )
  const capped =
    options.softcap === undefined
      ? logits
      : Score.softcap(options.softcap)(logits as Tensor.Tensor<DType.FloatDType>)
  const { score = Score.identity } = options
  const scored: Tensor.Tensor = score(capped as Tensor.Tensor<DType.FloatDType>)
  const biased =
    options.bias === undefined
      ? scored
      : additive("bias", options.bias, dtype)(scored as Tensor.Tensor<DType.FloatDType>)
  const { mask, window, fill } = options
  const scores = windowed(masked(biased, mask, dtype, fill), window, fill)
  const weights = weigh(scores, options.sinks, q, dtype)
  const kept = dropped(weights, options.dropout)
  const summed = Tensor.matmul(Tensor.cast(kept, dtype), repeated(values)) as Tensor.Tensor
  const result = Tensor.cast(summed, own) as Tensor.Tensor
  return { logits, capped, scores, weights, kept, result }
}

const accumulated = ({ accumulate }: Options): "f64" | undefined => {
  if (accumulate === undefined || accumulate === "f64") return accumulate
  throw Site.attrError(
    op,
    `accumulate is "f64" or absent, not ${String(accumulate)}`,
    "sums are f32 otherwise"
  )
}

const dropped = (weights: Tensor.Tensor, options: Options["dropout"]): Tensor.Tensor => {
  if (options === undefined) return weights
  if (options.broadcast !== true || options.rate === 0 || options.rate === 1) return dropout(weights, options)
  const { shape } = Tensor.nodeOf(weights).type
  const keep = dropoutMask(options.seed, [1, 1, shape[2] as Dim.Dim, shape[3] as Dim.Dim], options.rate)
  return Tensor.where(keep, Tensor.mul(weights, 1 / (1 - options.rate)), 0)
}

const defaultScale = (q: Tensor.Tensor): number => {
  const size = Dim.value(Tensor.nodeOf(q).type.shape[3] as Dim.Dim)
  if (size !== undefined && size > 0) return 1 / Math.sqrt(size)
  throw Site.attrError(op, `the head size of ${q} says no scale`, "give { scale }")
}
