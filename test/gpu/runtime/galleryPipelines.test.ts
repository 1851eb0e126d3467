/** No piece of the gallery makes a pipeline for a length that follows its first call, nor when it is compiled again. */
import { Effect, Layer } from "effect"
import { expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as WebGpu from "../../../backends/webgpu/Backend.ts"
import { compile } from "../../../src/compile.ts"
import { nullDevice } from "../../support/dawn.ts"
import { enlarged, pieces, randomised } from "../../support/gallery.ts"

test.each(["software", "hardware"])("on %s", async (kind) => {
  const nobody = { vendor: "", architecture: "", device: "", description: "" }
  // Nothing is computed: what is asked for counts.
  const info = { ...nobody, isFallbackAdapter: kind === "software" } as GPUAdapterInfo
  await Effect.gen(function* () {
    const { pipelinesCreated } = yield* Backend
    for (const [name, exhibit] of pieces) {
      const compiled = compile(exhibit.fn as Parameters<typeof compile>[0], exhibit.signature)
      const f = yield* compiled
      const large = enlarged(exhibit).inputs
      yield* f(randomised(exhibit))
      const created = pipelinesCreated()
      expect(created).toBeGreaterThan(0)
      yield* f(large)
      yield* f(randomised(exhibit))
      yield* (yield* compiled)(large)
      expect(pipelinesCreated(), name).toBe(created)
    }
  }).pipe(Effect.provide(Layer.effect(Backend, WebGpu.make(await nullDevice(), info))), Effect.runPromise)
})
