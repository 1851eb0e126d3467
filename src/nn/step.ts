import { type Spec, spec } from "../spec.ts"
import * as Tensor from "../Tensor.ts"
import type { Cache } from "./attentionConfig.ts"
import { type CacheKind, type Lying, lying } from "./CacheKind.ts"
import type { Context, LanguageModel } from "./LanguageModel.ts"
import * as Params from "./Params.ts"
import { penalised, type Sampling, sample } from "./sample.ts"

/**
 * One step of generation as a function to compile: a prompt or one more word for each of B sequences, each at its own position. One program
 * serves prefill and decoding: T is a length like others.
 *
 * Inputs: `tokens` i32 [B, T]; `length` i32 [B], the positions in the cache that are filled; `last` i32 [B], the position in `tokens` of the last word;
 * `seed` u32; `table` i32 [B, W] of a cache of pages; `keys.n`, `values.n`; where words are penalised `seen` bool [B, V], `fresh` bool [B], whether a
 * sequence has just joined, and `mark` i32 [B, N], words that it has seen. Results: `next` i32 [B], caches, `seen`.
 */
export interface Step {
  readonly fn: (inputs: Named) => Named
  readonly signature: { readonly [name: string]: Spec }
  /** What each call overwrites: caches, by name how they lie. */
  readonly caches: { readonly [name: string]: Lying }
  readonly penalises: boolean
}

type Named = { readonly [name: string]: Tensor.Tensor }

const prefix = "params."

/** Element `at[b]` of axis 1: [B, T, F] and i32 [B] to [B, 1, F]. */
const rowAt = (x: Tensor.Tensor, at: Tensor.Tensor): Tensor.Tensor => {
  const [batch, , features] = x.shape as readonly [number, number, number]
  const index = Tensor.broadcastTo(Tensor.reshape(at, [batch, 1, 1]), [batch, 1, features])
  return Tensor.takeAlongAxis(x, index as never, 1) as Tensor.Tensor
}

/** Words that a sequence has seen: none of those before where it is fresh, and those that are marked. */
const seenNow = (seen: Tensor.Tensor, fresh: Tensor.Tensor, mark: Tensor.Tensor): Tensor.Tensor => {
  const [batch, count] = mark.shape as readonly [number, number]
  const before = Tensor.and(
    seen as Tensor.Tensor<"bool">,
    Tensor.not(Tensor.expandDims(fresh as Tensor.Tensor<"bool">, 1))
  )
  const rows = Tensor.broadcastTo(Tensor.reshape(Tensor.arange(batch), [batch, 1]), [batch, count])
  const flat = (x: Tensor.Tensor): Tensor.Tensor<"i32"> => Tensor.reshape(x, [-1]) as Tensor.Tensor<"i32">
  const [entries, words] = [flat(rows as Tensor.Tensor), flat(mark)]
  const yes = Tensor.broadcastTo(Tensor.constant(true, "bool"), words.shape as ReadonlyArray<number>)
  return Tensor.scatter(before, yes as Tensor.Tensor, [entries, words]) as Tensor.Tensor
}

/** The step of a model whose calls bring `call` words of a sequence at most. */
export const step = (model: LanguageModel, kind: CacheKind, sampling: Sampling, call: number): Step => {
  const { words, dtype, kept } = model
  const context = model.context?.made ?? {}
  const penalty = sampling.repetitionPenalty ?? 1
  const layers = kept.map((own) => lying(kind, own, call))
  const caches = Object.fromEntries(
    layers.flatMap((own, n) => [
      [`keys.${n}`, own],
      [`values.${n}`, own]
    ])
  )
  const signature = {
    ...Params.signature(model.params, prefix),
    ...Object.fromEntries(Object.entries(context).map(([name, own]) => [`context.${name}`, own])),
    tokens: spec("i32", ["B", "T"]),
    length: spec("i32", ["B"]),
    last: spec("i32", ["B"]),
    seed: spec("u32", []),
    ...(kind.kind === "pages" ? { table: spec("i32", ["B", "W"]) } : {}),
    ...Object.fromEntries(Object.entries(caches).map(([name, { shape }]) => [name, spec(dtype, shape)])),
    ...(penalty === 1
      ? {}
      : { seen: spec("bool", ["B", words]), fresh: spec("bool", ["B"]), mark: spec("i32", ["B", "N"]) })
  }
  const fn: Step["fn"] = (inputs) => {
    const given = (name: string): Tensor.Tensor => inputs[name] as Tensor.Tensor
    const own: ReadonlyArray<Cache> = layers.map(({ ring }, n) => ({
      key: given(`keys.${n}`),
      value: given(`values.${n}`),
      length: given("length"),
      ring,
      table: inputs.table
    }))
    // Of what tree is for the model alone to know.
    const params = Params.nest(model.params as undefined, inputs, prefix) as never
    const beside = Object.fromEntries(Object.keys(context).map((name) => [name, given(`context.${name}`)]))
    const { hidden, caches: next } = model.hidden(params, {
      tokens: given("tokens"),
      caches: own,
      context: beside
    })
    // Words are predicted from the last position alone.
    const logits = Tensor.squeeze(model.predict(params, rowAt(hidden, given("last"))), 1) as Tensor.Tensor
    const exact = Tensor.cast(logits, "f32") as Tensor.Tensor
    const seen = penalty === 1 ? undefined : seenNow(given("seen"), given("fresh"), given("mark"))
    const less = seen === undefined ? exact : penalised(exact, seen, penalty)
    const chosen = sample(less, sampling, given("seed") as Tensor.Tensor<"u32">)
    return {
      next: Tensor.cast(chosen, "i32") as Tensor.Tensor,
      ...(seen === undefined ? {} : { seen }),
      ...Object.fromEntries(
        (next ?? []).flatMap(({ key, value }, n) => [
          [`keys.${n}`, key],
          [`values.${n}`, value]
        ])
      )
    }
  }
  return { fn, signature, caches, penalises: penalty !== 1 }
}

/** What a model makes of its context, as a function to compile; its results are named as the step's inputs. */
export const made = (model: LanguageModel, context: Context): Pick<Step, "fn" | "signature"> => ({
  fn: (inputs) => {
    const given = Object.keys(context.given).map((name) => [name, inputs[name] as Tensor.Tensor])
    const params = Params.nest(model.params as undefined, inputs, prefix) as never
    const results = Object.entries(context.make(params, Object.fromEntries(given)))
    return Object.fromEntries(results.map(([name, x]) => [`context.${name}`, x]))
  },
  signature: { ...Params.signature(model.params, prefix), ...context.given }
})

/** A cache of twice the capacity with the same rows: what `keys` of [B, M, C, D] become. */
export const grown = (x: Tensor.Tensor): Tensor.Tensor =>
  Tensor.pad(x, [
    [0, 0],
    [0, 0],
    [0, x.shape[2] as number],
    [0, 0]
  ]) as Tensor.Tensor
