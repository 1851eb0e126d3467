import { Effect, Fiber, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { recomputed, textsOf, whole } from "../../support/nn/generating.ts"
import { tiny } from "../../support/nn/models.ts"

const prompts = [[3, 1, 4, 1, 5], [9, 2], [6]]

const columns = (steps: ReadonlyArray<nn.Generated>) => textsOf(steps, prompts.length)

const collect = (made: ReturnType<typeof tiny>, options: nn.GenerateOptions) =>
  Effect.map(Stream.runCollect(nn.generate(made.model, made.params, prompts, options)), (c) => [...c])

const onReference = <A, E>(effect: Effect.Effect<A, E, Backend>) =>
  Effect.runPromise(effect.pipe(Effect.provide(Reference.layer)))

describe("generate", () => {
  it.each([
    ["as they are", {}, {}],
    ["caches that grow twice", {}, { cache: { kind: "static", capacity: 5 } }],
    ["windows and norms of heads", { windows: [2, undefined], qkNorm: true, tied: true }, {}],
    ["softcaps, gains from 1", { gemma: true, softcap: 20, wordSoftcap: 10 }, {}]
  ] as const)("equals full recomputation of each prompt by itself: %s", async (_, config, options) => {
    const made = tiny(config)
    const { steps, expected } = await onReference(
      Effect.all({
        steps: collect(made, { maxTokens: 7, ...options }),
        expected: Effect.all(prompts.map((p) => recomputed(whole(made), p, 7)))
      })
    )
    expect(columns(steps)).toEqual(expected)
    expect(new Set(expected.flat()).size).toBeGreaterThan(4)
  })

  it("compiles once for prompts of any lengths, and again for other options, another model, another backend", async () => {
    const [made, other] = [tiny(), tiny()]
    const counted = (backend: Backend["Service"]) => {
      let compiled = 0
      const compile: typeof backend.compile = (plan) => {
        compiled++
        return backend.compile(plan)
      }
      return { backend: { ...backend, compile }, count: () => compiled }
    }
    const counts = await onReference(
      Effect.gen(function* () {
        const own = yield* Backend
        const [first, second] = [counted(own), counted(own)]
        const on = (
          { backend }: typeof first,
          { model, params }: typeof made,
          options: Partial<nn.GenerateOptions> = {}
        ) =>
          Stream.runCollect(nn.generate(model, params, [[3, 1]], { maxTokens: 2, ...options })).pipe(
            Effect.provideService(Backend, backend)
          )
        const after: Array<number> = []
        const note = () => after.push(first.count())
        const before = yield* on(first, made)
        note()
        expect(yield* on(first, made)).toEqual(before)
        yield* on(first, made, { maxTokens: 4, seed: 3, stop: [1], cache: { kind: "static", capacity: 2 } })
        note()
        yield* on(first, made, { temperature: 1 })
        note()
        yield* on(first, made, { cache: { kind: "pages" } })
        note()
        yield* on(first, other)
        note()
        for (let topK = 1; topK <= 8; topK++) yield* on(first, made, { temperature: 1, topK })
        yield* on(first, made)
        note()
        yield* on(second, made)
        return [...after, second.count()]
      })
    )
    expect(counts).toEqual([2, 2, 4, 6, 8, 26, 2])
  })

  it("ends a sequence at a stop word and goes on with the others", async () => {
    const made = tiny()
    const all = columns(await onReference(collect(made, { maxTokens: 7 })))
    const stop = all[0]?.[2] as number
    const cut = (text: ReadonlyArray<number>) =>
      text.includes(stop) ? text.slice(0, text.indexOf(stop) + 1) : text
    const stopped = columns(await onReference(collect(made, { maxTokens: 7, stop: [stop] })))
    expect(stopped).toEqual(all.map(cut))
    expect(stopped[0]?.length).toBeLessThan(7)
  })

  it("draws by its seed", async () => {
    const made = tiny()
    const draw = (seed: number) =>
      onReference(collect(made, { maxTokens: 6, temperature: 1, topP: 0.9, seed }))
    const [one, again, other] = [await draw(1), await draw(1), await draw(2)]
    expect(columns(one)).toEqual(columns(again))
    expect(columns(one)).not.toEqual(columns(other))
  })

  it("draws anew in each step, by a large seed too", async () => {
    const { model } = tiny()
    const alike = { model, params: nn.Params.flatten(model.init(5)) }
    const made = columns(
      await onReference(collect(alike, { maxTokens: 12, temperature: 1, seed: 2_000_000_011 }))
    )
    expect(new Set(made[0]).size).toBeGreaterThan(3)
  })

  it("penalises words that were there", async () => {
    const made = tiny()
    const texts = columns(await onReference(collect(made, { maxTokens: 8, repetitionPenalty: 1e6 })))
    texts.forEach((text, b) => {
      const whole = [...new Set(prompts[b]), ...text]
      expect(new Set(whole).size).toBe(whole.length)
    })
  })

  it("moves a few numbers a step, and none that grow", async () => {
    const made = tiny()
    const steps = await onReference(collect(made, { maxTokens: 4 }))
    // Words, lengths and places of three sequences, a seed; three words back.
    expect(steps.map((s) => s.bytesMoved)).toEqual([3 * 5 * 4 + 24 + 4 + 12, 52, 52, 52])
  })

  it("gives all memory back, also when it is interrupted", async () => {
    const made = tiny()
    const alive = await onReference(
      Effect.gen(function* () {
        const backend = yield* Backend
        const before = backend.buffersAlive()
        yield* collect(made, { maxTokens: 3, cache: { kind: "static", capacity: 5 } })
        const fiber = yield* Effect.forkChild(collect(made, { maxTokens: 10000 }))
        yield* Effect.sleep("5 millis")
        yield* Fiber.interrupt(fiber)
        return backend.buffersAlive() - before
      })
    )
    expect(alive).toBe(0)
  })

  it.each([
    [[], { maxTokens: 1 }, /there is no prompt/],
    [[[]], { maxTokens: 1 }, /prompt 0 is empty/],
    [[[1], [2, 23]], { maxTokens: 1 }, /prompt 1 holds 23, which is no word of 23/],
    [[[1]], { maxTokens: 0 }, /maxTokens is 0/],
    [[[1]], { maxTokens: 1, topP: 2 }, /topP is 2/],
    [[[1]], {} as never, /maxTokens is undefined/],
    [[[1]], { maxTokens: 1, seed: 0.5 }, /seed is 0.5/],
    [[[1]], { maxTokens: 1, stop: [2, 23] }, /stop holds 23, which is no word of 23/],
    [[[1]], { maxTokens: 1, cache: { kind: "paged" } as never }, /there is no cache of kind "paged"/]
  ])("refuses %o with %o", async (texts, options, message) => {
    const { model, params } = tiny()
    const failed = await onReference(
      Effect.flip(Stream.runCollect(nn.generate(model, params, texts, options)))
    )
    expect(failed._tag).toBe("AttrError")
    expect(failed.message).toMatch(message)
  })
})
