import type { Dim } from "../../ir/Dim.ts"
import { type Spec, spec } from "../spec.ts"
import * as Tensor from "../Tensor.ts"
import type { Cache } from "./attentionConfig.ts"
import type { Decoder } from "./models/decoder.ts"
import * as Params from "./Params.ts"
import { penalised, type Sampling, sample } from "./sample.ts"

/**
 * One step of generation as a function to compile: a prompt or one more word for each of B sequences, each at its own position. One program
 * serves prefill and decoding: T is a length like others.
 *
 * Inputs: `tokens` i32 [B, T]; `length` i32 [B], the positions in the cache that are filled; `last` i32 [B], the position in `tokens` of the last word;
 * `seed` u32; `keys.n`, `values.n`; `seen` bool [B, V] where words are penalised. Results: `next` i32 [B], caches, `seen`.
 */
export interface Step {
  readonly fn: (inputs: { readonly [name: string]: Tensor.Tensor }) => {
    readonly [name: string]: Tensor.Tensor
  }
  readonly signature: { readonly [name: string]: Spec }
  /** What each call overwrites: caches and seen words. */
  readonly donate: ReadonlyArray<string>
}

const prefix = "params."

/** Element `at[b]` of axis 1: [B, T, F] and i32 [B] to [B, 1, F]. */
const rowAt = (x: Tensor.Tensor, at: Tensor.Tensor): Tensor.Tensor => {
  const [batch, , features] = x.shape as readonly [number, number, number]
  const index = Tensor.broadcastTo(Tensor.reshape(at, [batch, 1, 1]), [batch, 1, features])
  return Tensor.takeAlongAxis(x, index as never, 1) as Tensor.Tensor
}

export const cacheShape = (
  model: Decoder,
  capacity: number | string,
  batch: number | string
): ReadonlyArray<Dim | number | string> => {
  const { heads, kvHeads = heads, features, headSize = features / heads } = model.config
  return [batch, kvHeads, capacity, headSize]
}

/** The step of a model. */
export const step = (model: Decoder, sampling: Sampling): Step => {
  const { layers, words, dtype = "f32" } = model.config
  const numbers = Array.from({ length: layers }, (_, n) => n)
  const shape = cacheShape(model, "C", "B")
  const penalty = sampling.repetitionPenalty ?? 1
  const caches = Object.fromEntries(
    numbers.flatMap((n) => [
      [`keys.${n}`, spec(dtype, shape)],
      [`values.${n}`, spec(dtype, shape)]
    ])
  )
  const signature = {
    ...Params.signature(model.params, prefix),
    tokens: spec("i32", ["B", "T"]),
    length: spec("i32", ["B"]),
    last: spec("i32", ["B"]),
    seed: spec("u32", []),
    ...caches,
    ...(penalty === 1 ? {} : { seen: spec("bool", ["B", words]) })
  }
  const fn: Step["fn"] = (inputs) => {
    const given = (name: string): Tensor.Tensor => inputs[name] as Tensor.Tensor
    const length = given("length")
    const own: ReadonlyArray<Cache> = numbers.map((n) => ({
      key: given(`keys.${n}`),
      value: given(`values.${n}`),
      length
    }))
    const { hidden, caches: next } = model.hidden(Params.nest(model.params, inputs, prefix), {
      tokens: given("tokens"),
      caches: own
    })
    // Words are predicted from the last position alone.
    const logits = Tensor.squeeze(
      model.predict(Params.nest(model.params, inputs, prefix), rowAt(hidden, given("last"))),
      1
    ) as Tensor.Tensor
    const exact = Tensor.cast(logits, "f32") as Tensor.Tensor
    const less = penalty === 1 ? exact : penalised(exact, given("seen"), penalty)
    const word = Tensor.cast(
      sample(less, sampling, given("seed") as Tensor.Tensor<"u32">),
      "i32"
    ) as Tensor.Tensor
    const results: { [name: string]: Tensor.Tensor } = { next: word }
    for (const n of numbers) {
      const cache = next?.[n] as Cache
      results[`keys.${n}`] = cache.key
      results[`values.${n}`] = cache.value
    }
    if (penalty !== 1) {
      const now = Tensor.ne(Tensor.oneHot(word as Tensor.Tensor<"i32">, words), 0)
      results.seen = Tensor.or(given("seen") as Tensor.Tensor<"bool">, now) as Tensor.Tensor
    }
    return results
  }
  return { fn, signature, donate: [...Object.keys(caches), ...(penalty === 1 ? [] : ["seen"])] }
}

/** A cache of twice the capacity with the same rows: what `keys` of [B, M, C, D] become. */
export const grown = (x: Tensor.Tensor): Tensor.Tensor =>
  Tensor.pad(x, [
    [0, 0],
    [0, 0],
    [0, x.shape[2] as number],
    [0, 0]
  ]) as Tensor.Tensor
