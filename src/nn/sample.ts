import { AttrError } from "../errors.ts"
import * as Tensor from "../Tensor.ts"
import type { Seed } from "../tensor/random.ts"

/** How the next word is chosen. What is left out changes nothing. */
export interface Sampling {
  /** Divides the logits; 0, the default, takes the likeliest word. */
  readonly temperature?: number | undefined
  /** Only the k likeliest words. */
  readonly topK?: number | undefined
  /** Only the likeliest words that together have this probability (Holtzman et al. 2020, arXiv 1904.09751). */
  readonly topP?: number | undefined
  /** Only words at least this likely in proportion to the likeliest (Nguyen et al. 2024, arXiv 2407.01082). */
  readonly minP?: number | undefined
  /** Logits of words that are there already are divided by it where above 0, else multiplied (Keskar et al. 2019, arXiv 1909.05858). */
  readonly repetitionPenalty?: number | undefined
}

const within = (
  name: string,
  value: number | undefined,
  holds: (x: number) => boolean,
  range: string
): void => {
  if (value === undefined || holds(value)) return
  throw new AttrError({ op: "sample", message: `${name} is ${value}`, hint: `use ${range}` })
}

/** Throws `AttrError` for a number that means nothing. */
export const check = ({ temperature, topK, topP, minP, repetitionPenalty }: Sampling): void => {
  within(
    "temperature",
    temperature,
    (x) => x === 0 || (x >= 2 ** -126 && x < Infinity),
    "0, or a number that float32 holds, from 1.2e-38"
  )
  within("topK", topK, (x) => Number.isSafeInteger(x) && x >= 1, "a whole number of 1 or more")
  within("topP", topP, (x) => x > 0 && x <= 1, "a number above 0, at most 1")
  within("minP", minP, (x) => x >= 0 && x <= 1, "a number from 0 to 1")
  within("repetitionPenalty", repetitionPenalty, (x) => x > 0 && x < Infinity, "a number above 0")
}

const keep = (x: Tensor.Tensor): Tensor.Tensor => Tensor.expandDims(x, -1) as Tensor.Tensor

/** Logits so far below the greatest have a weight that f32 does not hold. */
const reach = 128

/** Halvings of an interval of f32 numbers until it holds hardly more than one. */
const halvings = 30

/**
 * The largest threshold, to 2^-30 of the range, that `enough` holds for, ever less above; the least one where it holds for none. There is no sort on
 * a device; a bisection is as many reductions.
 */
const threshold = (
  least: Tensor.Tensor,
  most: Tensor.Tensor,
  enough: (at: Tensor.Tensor) => Tensor.Tensor
): Tensor.Tensor => {
  let [low, high] = [least, most]
  for (let n = 0; n < halvings; n++) {
    const middle = Tensor.mul(Tensor.add(low, high), 0.5) as Tensor.Tensor
    const holds = enough(middle) as Tensor.Tensor<"bool">
    ;[low, high] = [
      Tensor.where(holds, middle, low) as Tensor.Tensor,
      Tensor.where(holds, high, middle) as Tensor.Tensor
    ]
  }
  return low
}

/** Logits of which those that may not be chosen are -inf. [B, V] to [B, V]. */
export const narrowed = (logits: Tensor.Tensor, { topK, topP, minP }: Sampling): Tensor.Tensor => {
  const top = keep(Tensor.max(logits, -1) as Tensor.Tensor)
  // So far below the likeliest nothing is ever drawn; words that are ruled out, by -inf or -1e9, would make the range too wide to halve.
  const least = Tensor.maximum(
    keep(Tensor.min(logits, -1) as Tensor.Tensor),
    Tensor.sub(top, reach)
  ) as Tensor.Tensor
  let out = logits
  const atLeast = (limit: Tensor.Tensor): void => {
    out = Tensor.where(Tensor.ge(out, limit), out, -Infinity) as Tensor.Tensor
  }
  if (topK !== undefined) {
    const own = out
    atLeast(
      threshold(
        least,
        top,
        (at) =>
          Tensor.ge(
            keep(Tensor.sum(Tensor.cast(Tensor.ge(own, at), "i32"), -1) as Tensor.Tensor),
            topK
          ) as Tensor.Tensor
      )
    )
  }
  if (topP !== undefined && topP < 1) {
    const own = out
    const weights = Tensor.softmax(own, -1) as Tensor.Tensor
    atLeast(
      threshold(least, top, (at) => {
        const reached = Tensor.sum(Tensor.where(Tensor.ge(own, at), weights, 0), -1) as Tensor.Tensor
        return Tensor.ge(keep(reached), topP) as Tensor.Tensor
      })
    )
  }
  // p / pmax = exp(x - max).
  if (minP !== undefined && minP > 0) atLeast(Tensor.add(top, Math.log(minP)) as Tensor.Tensor)
  return out
}

/** Logits of words that were there, [B, V] of which is true. */
export const penalised = (logits: Tensor.Tensor, seen: Tensor.Tensor, penalty: number): Tensor.Tensor => {
  const less = Tensor.where(Tensor.gt(logits, 0), Tensor.div(logits, penalty), Tensor.mul(logits, penalty))
  return Tensor.where(seen as Tensor.Tensor<"bool">, less, logits) as Tensor.Tensor
}

/**
 * The next words, i32 [B], of logits f32 [B, V]: the likeliest, or one drawn with the probability that the softmax gives it, as the largest of
 * logits plus Gumbel noise (Gumbel 1954). On ties the first.
 */
export const sample = (logits: Tensor.Tensor, sampling: Sampling, seed: Seed): Tensor.Tensor => {
  check(sampling)
  const { temperature = 0 } = sampling
  if (temperature === 0) return Tensor.argmax(logits, -1) as Tensor.Tensor
  // Below the greatest first: what a low temperature makes too large for f32 is then a weight of 0, and no infinity meets another.
  const exact = Tensor.cast(logits, "f32")
  const below = Tensor.sub(exact, keep(Tensor.max(exact, -1) as Tensor.Tensor))
  const scaled = Tensor.div(below, temperature) as Tensor.Tensor
  const uniform = Tensor.uniform(seed, scaled.shape as ReadonlyArray<number>)
  // Above 0 and below 1: both logarithms are finite.
  const noise = Tensor.neg(
    Tensor.log(Tensor.neg(Tensor.log(Tensor.add(Tensor.mul(uniform, 1 - 2 ** -23), 2 ** -25))))
  )
  return Tensor.argmax(Tensor.add(narrowed(scaled, sampling), noise), -1) as Tensor.Tensor
}
