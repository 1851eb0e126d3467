import { Effect, Result, Stream } from "effect"
import { describe, expect, it } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as nn from "../../../src/nn/index.ts"
import { step } from "../../../src/nn/step.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import type { Tensor } from "../../../src/Tensor.ts"
import { trace } from "../../../src/trace.ts"
import * as Wasm from "../../../src/Wasm.ts"
import * as Arrays from "../../support/arrays.ts"
import { loud, recomputed, textsOf, type Whole, whole } from "../../support/nn/generating.ts"
import { tiny } from "../../support/nn/models.ts"

/** Two begin alike, for two pages of 4. */
const prompts = [
  [3, 1, 4, 1, 5, 9, 2, 6, 5],
  [8, 7],
  [3, 1, 4, 1, 5, 9, 2, 6, 11, 2],
  [6, 2, 2]
]
const layers = { reference: Reference.layer, wasm: Wasm.layer }

const on =
  (name: keyof typeof layers) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Promise<A> =>
    Effect.runPromise(Effect.provide(effect, layers[name] as never) as Effect.Effect<A, E>)

interface Made {
  readonly model: nn.LanguageModel
  readonly params: { readonly [name: string]: HostArray.HostArray }
}

const collect = (
  { model, params }: Made,
  texts: ReadonlyArray<ReadonlyArray<number>>,
  options: nn.GenerateOptions
) => Effect.map(Stream.runCollect(nn.generate(model as never, params, texts, options)), (c) => [...c])

const windowed = { windows: [3, undefined], qkNorm: true } as const

describe.each(["reference", "wasm"] as const)("on %s", (name) => {
  const run = on(name)

  it.each([
    ["static", {}, { cache: { kind: "static" } }],
    ["static, two at once", {}, { cache: { kind: "static", capacity: 4 }, batch: 2 }],
    ["a ring, read in pieces", windowed, { cache: { kind: "ring" }, chunk: 4 }],
    ["a ring, three at once", windowed, { cache: { kind: "ring" }, batch: 3 }],
    ["pages", {}, { cache: { kind: "pages", rows: 4 } }],
    ["pages, two at once, read in pieces", {}, { cache: { kind: "pages", rows: 4 }, batch: 2, chunk: 3 }],
    ["pages, as few as will do", windowed, { cache: { kind: "pages", rows: 4, pages: 4 } }]
  ] as const)("caches equal full recomputation: %s", async (_, config, options) => {
    const made = tiny(config)
    const { steps, expected } = await run(
      Effect.all({
        steps: collect(made, prompts, { maxTokens: 6, ...options }),
        expected: Effect.all(prompts.map((p) => recomputed(whole(made), p, 6)))
      })
    )
    expect(textsOf(steps, prompts.length)).toEqual(expected)
    expect(new Set(expected.flat()).size).toBeGreaterThan(4)
    // Memory is flat.
    const bytes = new Set(steps.map((s) => s.cacheBytes))
    if (!("capacity" in options.cache)) expect(bytes.size).toBe(1)
  })

  it.each(["static", "pages"] as const)("a GPT-2 decoder: %s", async (kind) => {
    const model = nn.gpt2({ words: 19, positions: 20, features: 16, layers: 2, heads: 2 })
    const params = loud(nn.Params.flatten(model.init(3)), 8)
    const oracle: Whole = {
      signature: nn.Params.signature(model.params),
      given: params,
      logits: ({ tokens, ...p }) =>
        model.apply(nn.Params.nest(model.params, p), { tokens: tokens as Tensor }).logits
    }
    const { steps, expected } = await run(
      Effect.all({
        steps: collect({ model, params }, prompts, { maxTokens: 6, cache: { kind } }),
        expected: Effect.all(prompts.map((p) => recomputed(oracle, p, 6)))
      })
    )
    expect(textsOf(steps, prompts.length)).toEqual(expected)
    expect(new Set(expected.flat()).size).toBeGreaterThan(4)
  })

  it.each(["static", "pages"] as const)("a decoder with an encoder: %s", async (kind) => {
    const sizes = { mels: 4, sourcePositions: 5, targetPositions: 20, words: 19, features: 16 }
    const model = nn.whisper({ ...sizes, encoderLayers: 1, decoderLayers: 2, heads: 2 })
    const params = loud(nn.Params.flatten(model.init(4)), 20)
    const mel = Arrays.array(Arrays.random(2), "f32", [prompts.length, 4, 10])
    const signature = nn.Params.signature(model.params)
    const { steps, expected } = await run(
      Effect.gen(function* () {
        const encode = yield* compile(
          ({ mel: heard, ...p }) => model.encode(nn.Params.nest(model.params, p), heard as Tensor),
          { ...signature, mel: spec("f32", ["B", 4, 10]) }
        )
        const encoded = yield* encode({ ...params, mel } as never)
        const own = (n: number): Whole => ({
          signature: { ...signature, encoded: spec("f32", [1, 5, 16]) },
          given: {
            ...params,
            encoded: { ...encoded, shape: [1, 5, 16], data: encoded.data.slice(n * 80, n * 80 + 80) } as never
          },
          logits: ({ tokens, encoded: heard, ...p }) =>
            model.decode(nn.Params.nest(model.params, p), {
              tokens: tokens as Tensor,
              encoded: heard as Tensor
            }).logits
        })
        return yield* Effect.all({
          steps: collect({ model, params }, prompts, {
            ...{ maxTokens: 6, cache: { kind } },
            context: { encoded }
          }),
          expected: Effect.all(prompts.map((p, n) => recomputed(own(n), p, 6)))
        })
      })
    )
    expect(textsOf(steps, prompts.length)).toEqual(expected)
    expect(new Set(expected.flat()).size).toBeGreaterThan(4)
  })
})

it("projects what an encoder heard once, not for every word", () => {
  const sizes = { mels: 4, sourcePositions: 5, targetPositions: 20, words: 19, features: 16 }
  const model = nn.whisper({ ...sizes, encoderLayers: 1, decoderLayers: 2, heads: 2 })
  const { fn, signature } = step(model, { kind: "static" }, {}, 9)
  const { graph } = Result.getOrThrow(trace(fn as never, signature))
  const products = graph.nodes.filter(({ op, operands }) => {
    // Logits and results of attention contract with keys and values, which are four axes.
    return op === "dot" && operands.every(({ type }) => type.shape.length < 4)
  })
  // Of each layer four projections, two to the encoder, and two of the feed-forward; and words.
  expect(products).toHaveLength(2 * (4 + 2 + 2) + 1)
})

describe("sequences of a pool", () => {
  const run = on("reference")
  const pages = (count?: number) => ({ kind: "pages", rows: 4, pages: count }) as const

  it("share the pages of what they begin with, and read it once", async () => {
    const steps = await run(collect(tiny(), prompts, { maxTokens: 2, cache: pages() }))
    // 10 positions in 3 pages, 3 in 1, 11 in 3 of which 2 are shared, 4 in 1; the longest that is read has 9 words.
    expect(steps.map((s) => s.pagesUsed)).toEqual([6, 6])
    // Words, lengths, places, a seed, tables of 3 pages, 4 words back.
    expect(steps.map((s) => s.bytesMoved)).toEqual([4 * (4 * 9 + 8 + 1 + 12 + 4), 4 * (4 + 8 + 1 + 12 + 4)])
  })

  it("find a text that was there before, until its pages are needed", async () => {
    const [text, other] = [prompts[0] as ReadonlyArray<number>, [8, 7, 6, 2, 2]]
    const again = [text, text, other, text]
    const [kept, taken] = await Promise.all(
      [8, 3].map((count) => run(collect(tiny(), again, { maxTokens: 2, batch: 1, cache: pages(count) })))
    )
    expect(textsOf(kept ?? [], 4)).toEqual(textsOf(taken ?? [], 4))
    // Words and pages of a table that the first call of each brings; beside them a length, a place, a seed and a word back.
    const brought = (steps: ReadonlyArray<nn.Generated> = []) =>
      steps.map((s) => s.bytesMoved / 4 - 4).filter((_, n) => n % 2 === 0)
    expect(brought(kept)).toEqual([9 + 3, 1 + 3, 5 + 2, 1 + 3])
    // Of a pool of 3 pages the other text takes two; the beginning of the first is left.
    expect(brought(taken)).toEqual([9 + 3, 1 + 3, 5 + 2, 5 + 3])
  })

  it("penalises words of a shared beginning too", async () => {
    const options = { maxTokens: 4, repetitionPenalty: 1e6, batch: 3, cache: pages() }
    const texts = textsOf(await run(collect(tiny(), prompts, options)), prompts.length)
    texts.forEach((text, b) => {
      const all = [...new Set(prompts[b]), ...text]
      expect(text).toHaveLength(4)
      expect(new Set(all).size).toBe(all.length)
    })
  })

  it.each([
    [{ cache: pages(3) }, /prompt 0 of 9 words and 6 more need 4 pages of 4, the pool has 3/],
    [{ cache: { kind: "pages", rows: 0 } }, /rows is 0/],
    [{ cache: { kind: "ring" } }, /no layer of the model has a window/],
    [{ batch: 0 }, /batch is 0/],
    [{ context: { encoded: HostArray.zeros("f32", [1]) } }, /the context is encoded/]
  ] as const)("refuses %o", async (options, message) => {
    const failed = await run(Effect.flip(collect(tiny(), prompts, { maxTokens: 6, ...options })))
    expect(failed).toMatchObject({ _tag: "AttrError", message: expect.stringMatching(message) })
  })

  it("refuses more positions than a model knows", async () => {
    const model = nn.gpt2({ words: 19, positions: 13, features: 16, layers: 1, heads: 2 })
    const params = nn.Params.flatten(model.init(3))
    const failed = await run(Effect.flip(collect({ model, params }, prompts, { maxTokens: 6 })))
    expect(failed.message).toMatch(/prompt 0 of 9 words and 6 more need 14 positions, the model knows 13/)
  })
})
