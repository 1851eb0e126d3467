import type { monoid } from "fp-ts"
import type * as DType from "../ir/DType.ts"
import * as Tensor from "./Tensor.ts"
import type { Dims } from "./tensor/dims.ts"
import * as Site from "./tensor/Site.ts"

/**
 * What happens to logits between the product with the keys and the softmax. Shapes: H heads, T queries, S keys; logits are
 * [..., H, T, S] and stay so.
 */
export type Score = <D extends DType.FloatDType, S extends Dims>(
  logits: Tensor.Tensor<D, S>
) => Tensor.Tensor<D, S>

const score = (name: string, body: (logits: Tensor.Tensor) => Tensor.Tensor): Score => {
  const at = Site.here()
  const run = (logits: Tensor.Tensor): Tensor.Tensor =>
    Site.within(at, () => {
      if (Tensor.isTensor(logits)) return Tensor.cast(body(logits), logits.dtype)
      throw Site.dtypeError(
        name,
        "is a function of logits",
        "apply it in a pipe: logits.pipe(Score.softcap(50))"
      )
    })
  return run as Score
}

/** Nothing happens. */
export const identity: Score = (logits) => logits

/** First one, then the other. */
export const andThen = (first: Score, second: Score): Score =>
  ((logits: Tensor.Tensor<DType.FloatDType>) => second(first(logits))) as Score

/** Scores compose from left to right; the laws are tested. */
export const Monoid: monoid.Monoid<Score> = { empty: identity, concat: andThen }

/** Logits times a factor. */
export const scale = (factor: number): Score => score("scale", (logits) => Tensor.mul(logits, factor))

/** `cap * tanh(logits / cap)`: logits stay between -cap and cap. */
export const softcap = (cap: number): Score => {
  if (!(cap > 0 && cap < Infinity))
    throw Site.attrError("softcap", `${cap} is not a cap`, "use a finite number above 0")
  return score("softcap", (logits) => Tensor.mul(Tensor.tanh(Tensor.div(logits, cap)), cap))
}

/** Logits plus a tensor that broadcasts with them: a bias, or an additive mask. It is rounded to their dtype first. */
export const bias = (values: Tensor.Tensor): Score =>
  score("bias", (logits) => {
    const short = logits.rank - values.rank
    if (short < 0 || values.shape.some((d, i) => d !== 1 && logits.shape[i + short] === 1)) {
      throw Site.shapeError(
        "bias",
        `${values} does not broadcast to logits ${logits}`,
        "every axis of the bias is 1 or that of the logits"
      )
    }
    return Tensor.add(logits, Tensor.cast(values, logits.dtype))
  })

/** Key position minus query position, i32 [T, S]; `offset` is the position of the first query. */
const relative = (logits: Tensor.Tensor, offset: number | Tensor.Tensor<"i32">): Tensor.Tensor<"i32"> => {
  if (logits.rank < 2)
    throw Site.shapeError(
      "Score",
      `logits end in axes of queries and keys, given ${logits}`,
      "apply scores to [..., H, T, S]"
    )
  const row = (axis: -1 | -2): Tensor.Tensor<"i32"> => Tensor.positions(logits, axis)
  const query = Tensor.expandDims(row(-2), -1)
  const from = offset === 0 ? query : Tensor.add(query, offset)
  return Tensor.sub(row(-1), from) as Tensor.Tensor<"i32">
}

/** Where queries stand among the keys. */
export interface PositionOptions {
  /** The position of the first query; 0 unless told otherwise. */
  readonly offset?: number | Tensor.Tensor<"i32"> | undefined
}

/** The slopes of a number of heads: 2^(-8(h+1)/H) where H is a power of two; otherwise those of the power below, then every other of the one above. */
export const alibiSlopes = (heads: number): ReadonlyArray<number> => {
  if (!Number.isSafeInteger(heads) || heads < 1) {
    throw Site.attrError("alibi", `${heads} is not a number of heads`, "use a whole number of 1 or more")
  }
  const power = 2 ** Math.floor(Math.log2(heads))
  const geometric = (n: number): ReadonlyArray<number> =>
    Array.from({ length: n }, (_, h) => 2 ** ((-8 * (h + 1)) / n))
  const between = geometric(2 * power).filter((_, h) => h % 2 === 0)
  return [...geometric(power), ...between.slice(0, heads - power)]
}

/**
 * Logits plus `slope(h) * (j - i)`: farther keys count less (Press, Smith & Lewis 2022, arXiv 2108.12409). Slopes are those of a
 * number of heads, or a tensor [H].
 */
export const alibi = (slopes: number | Tensor.Tensor, options: PositionOptions = {}): Score => {
  const values = typeof slopes === "number" ? alibiSlopes(slopes) : undefined
  return score("alibi", (logits) => {
    const own = values === undefined ? (slopes as Tensor.Tensor) : Tensor.fromValues(values)
    if (own.rank !== 1)
      throw Site.shapeError("alibi", `slopes are [H], given ${own}`, "give one slope for each head")
    const perHead = Tensor.reshape(Tensor.cast(own, "f32"), [-1, 1, 1])
    const distance = Tensor.cast(relative(logits, options.offset ?? 0), "f32")
    return Tensor.add(logits, Tensor.cast(Tensor.mul(perHead, distance), logits.dtype))
  })
}

/** The entry of a table for the distance of key and query, key minus query, i32 in and out. */
export type Buckets = (distance: Tensor.Tensor<"i32">) => Tensor.Tensor<"i32">

/** Logits plus a learned entry for each head and bucket of distances: `table` is [H, N], buckets run from 0 to N - 1. */
export const relativeBias = (
  table: Tensor.Tensor,
  buckets: Buckets | Tensor.Tensor<"i32">,
  options: PositionOptions = {}
): Score =>
  score("relativeBias", (logits) => {
    if (table.rank !== 2)
      throw Site.shapeError(
        "relativeBias",
        `the table is [H, N], given ${table}`,
        "transpose a table of [N, H]"
      )
    const entries = Tensor.isTensor(buckets) ? buckets : buckets(relative(logits, options.offset ?? 0))
    return Tensor.add(logits, Tensor.cast(Tensor.gather(table, entries, 1), logits.dtype))
  })

export interface T5Options {
  /** Entries of the table; 32 unless told otherwise. */
  readonly buckets?: number
  /** Distances from here on share the last bucket; 128 unless told otherwise. */
  readonly maxDistance?: number
  /** Whether keys after the query have buckets of their own; true unless told otherwise. */
  readonly bidirectional?: boolean
}

/** The bucket of each distance up to the largest, in float32 step by step as the published weights were trained. */
const t5Table = (sided: number, exact: number, maxDistance: number): ReadonlyArray<number> => {
  const f = Math.fround
  const range = Math.log(maxDistance / exact)
  return Array.from({ length: maxDistance + 1 }, (_, distance) => {
    if (distance < exact) return distance
    const steps = f(f(f(Math.log(f(distance / exact))) / range) * (sided - exact))
    return Math.min(exact + Math.trunc(steps), sided - 1)
  })
}

/**
 * Buckets of T5 (Raffel et al. 2020, arXiv 1910.10683): one for each small distance, logarithmic beyond. They are looked up, since a
 * logarithm that is off by one bit would put distances at a boundary into the wrong bucket.
 */
export const t5Buckets = ({
  buckets = 32,
  maxDistance = 128,
  bidirectional = true
}: T5Options = {}): Buckets => {
  const sided = bidirectional ? Math.floor(buckets / 2) : buckets
  const exact = Math.floor(sided / 2)
  if (
    !(Number.isSafeInteger(buckets) && exact >= 1 && Number.isSafeInteger(maxDistance) && maxDistance > exact)
  ) {
    throw Site.attrError(
      "t5Buckets",
      `${buckets} buckets do not reach to a distance of ${maxDistance}`,
      "use 4 or more buckets, and a distance beyond half of one side's"
    )
  }
  const table = t5Table(sided, exact, maxDistance)
  const i32 = (x: Tensor.Tensor): Tensor.Tensor<"i32"> => x as Tensor.Tensor<"i32">
  return (distance) => {
    const away = i32(bidirectional ? Tensor.abs(distance) : Tensor.neg(Tensor.minimum(distance, 0)))
    const bucket = Tensor.take(
      Tensor.fromValues(table, "i32"),
      Tensor.minimum(away, maxDistance) as Tensor.Tensor<"i32">,
      0
    )
    if (!bidirectional) return i32(bucket)
    return i32(Tensor.add(bucket, Tensor.mul(Tensor.cast(Tensor.gt(distance, 0), "i32"), sided)))
  }
}
