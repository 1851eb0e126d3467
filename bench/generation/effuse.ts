import { Effect, Stream } from "effect"
import type { DeviceArray } from "../../backends/Backend.ts"
import * as nn from "../../src/nn/index.ts"
import { upload } from "../../src/transfer.ts"
import { count, type Generation, model, prompt, weights } from "./model.ts"

/** `nn.generate` as a user calls it, greedy. */
export const generation = Effect.gen(function* () {
  const params: { [name: string]: DeviceArray } = {}
  for (const [name, x] of Object.entries(weights())) params[name] = yield* upload(x)
  const once = Effect.suspend(() => {
    const times: Array<number> = []
    let begun = performance.now()
    const words = nn.generate(model, params, [prompt], { maxTokens: count, temperature: 0 }).pipe(
      Stream.tap(() =>
        Effect.sync(() => {
          const now = performance.now()
          times.push(now - begun)
          begun = now
        })
      )
    )
    return Effect.map(Stream.runCollect(words), (made) => {
      const [first = 0, ...steps] = times
      const moved = made.slice(1).reduce((sum, { bytesMoved }) => sum + bytesMoved, 0)
      return { tokens: made.map(({ tokens }) => tokens[0] ?? -1), first, steps, bytes: moved / (count - 1) }
    })
  })
  const cold = yield* once
  const warm = yield* once
  return { ...warm, variant: "", cold: cold.first } satisfies Generation
})
