/** A model that generates on a device: caches in place, one submit a word, nothing compiled after the start. */
import { Effect, Stream } from "effect"
import { expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { tiny } from "../../support/nn/models.ts"
import { on, watchedGpu } from "../../support/watchedGpu.ts"

const prompts = [[3, 1, 4, 1, 5], [9, 2], [6]]
const cases = [
  ["a cache that grows", { cache: { kind: "static", capacity: 6 } }, {}],
  ["two at once in pages", { cache: { kind: "pages", rows: 4 }, batch: 2 }, {}],
  ["two at once in a ring", { cache: { kind: "ring" }, batch: 2 }, { windows: [3] }]
] as const

test.each(cases)(
  "words are those of the reference, nothing is compiled after two steps: %s",
  async (_, own, config) => {
    const options = { maxTokens: 6, temperature: 0, ...own }
    const { model, params } = tiny({ layers: 1, ...config })
    const watched = await watchedGpu()
    const expected = await Effect.runPromise(
      Stream.runCollect(nn.generate(model, params, prompts, options)).pipe(Effect.provide(Reference.layer))
    )
    const seen: Array<readonly [pipelines: number, submits: number, buffers: number]> = []
    const found = await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const steps = nn
          .generate(model, params, prompts, options)
          .pipe(
            Stream.tap(() =>
              Effect.sync(() =>
                seen.push([backend.pipelinesCreated(), watched.submits(), backend.buffersAlive()])
              )
            )
          )
        const made = yield* Stream.runCollect(steps)
        expect(backend.buffersAlive()).toBe(0)
        return made
      })
    )
    expect([...found]).toEqual([...expected])
    const [pipelines] = seen[1] as (typeof seen)[number]
    expect(pipelines).toBeGreaterThan(0)
    expect(seen.slice(1).map(([made]) => made)).toEqual(seen.slice(1).map(() => pipelines))
    // Two submits a word: the step, and the copy that reads it back.
    const submits = seen.map(([, n]) => n)
    expect((submits.at(-1) as number) - (submits.at(-2) as number)).toBeLessThanOrEqual(2)
    expect(seen.at(-1)?.[2]).toBe(seen.at(-3)?.[2])
  }
)
