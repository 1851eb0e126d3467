/** When pipelines are made, and who waits for them. */
import { Effect, Fiber } from "effect"
import { describe, expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as Attention from "../../../src/Attention.ts"
import { compile } from "../../../src/compile.ts"
import { spec } from "../../../src/spec.ts"
import * as Arrays from "../../support/arrays.ts"
import { on, type Watched, watchedGpu } from "../../support/watchedGpu.ts"

/** Prefill, and decode for few rows. */
const attention = compile(({ q, k, v }) => Attention.scaledDotProductAttention(q, k, v, { mask: "causal" }), {
  q: spec("f32", [1, 1, "T", 4]),
  k: spec("f32", [1, 1, "S", 4]),
  v: spec("f32", [1, 1, "S", 4])
})

const inputs = (t: number) => {
  const from = Arrays.random(t)
  const array = () => Arrays.array(from, "f32", [1, 1, t, 4])
  return { q: array(), k: array(), v: array() }
}

/** Pipelines of decode wait until `release`, which lets them be made, or fail with an error. Counts those asked for. */
const holdDecode = (watched: Watched) => {
  const device = watched.device()
  const create = device.createComputePipelineAsync.bind(device)
  let release: (error?: Error) => void = () => {}
  const held = new Promise<Error | undefined>((done) => {
    release = done
  })
  let asked = 0
  device.createComputePipelineAsync = async (descriptor) => {
    asked++
    if (descriptor.label === "flash_decode") {
      const error = await held
      if (error !== undefined) throw error
    }
    return create(descriptor)
  }
  return { release, asked: () => asked }
}

describe("compilation asks for all pipelines and waits for those of long calls", () => {
  test("a short call waits for its own, and makes none", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const { release, asked } = holdDecode(watched)
        const f = yield* attention
        expect(asked()).toBe(f.stats({ T: 1, S: 1 }).pipelines)
        expect((yield* f(inputs(40))).shape).toEqual([1, 1, 40, 4])
        const short = yield* Effect.forkChild(f(inputs(1)))
        yield* Effect.promise(() => new Promise((done) => setTimeout(done, 20)))
        expect(short.pollUnsafe()).toBeUndefined()
        release()
        expect((yield* Fiber.join(short)).data).toEqual(inputs(1).v.data)
        expect(asked()).toBe(f.stats({ T: 1, S: 1 }).pipelines)
        expect((yield* Backend).buffersAlive()).toBe(0)
      }).pipe(Effect.timeout(20_000))
    )
    expect(watched.uncaptured).toEqual([])
  })

  test("one that fails is an error of the call that needs it, which may try again", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const device = watched.device()
        const create = device.createComputePipelineAsync
        const { release } = holdDecode(watched)
        const f = yield* attention
        release(new Error("no such thing"))
        const error = yield* Effect.flip(f(inputs(1)))
        expect(error._tag).toBe("KernelError")
        expect(error.message).toContain("flash_decode")
        expect(error.message).toContain("no such thing")
        expect((yield* f(inputs(40))).shape).toEqual([1, 1, 40, 4])
        device.createComputePipelineAsync = create
        expect((yield* f(inputs(1))).data).toEqual(inputs(1).v.data)
        expect((yield* Backend).buffersAlive()).toBe(0)
      })
    )
    expect(watched.uncaptured).toEqual([])
  })

  test("a device that goes away meanwhile, or a caller that gives up, ends the wait", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const { release } = holdDecode(watched)
        const f = yield* attention
        expect((yield* Effect.flip(Effect.timeout(f(inputs(1)), 10)))._tag).toBe("TimeoutError")
        const short = yield* Effect.forkChild(Effect.flip(f(inputs(1))))
        yield* Effect.yieldNow
        watched.device().destroy()
        release()
        expect((yield* Fiber.join(short))._tag).toBe("DeviceLost")
        expect((yield* Backend).buffersAlive()).toBe(0)
      }).pipe(Effect.timeout(20_000))
    )
    expect(watched.uncaptured).toEqual([])
  })
})
