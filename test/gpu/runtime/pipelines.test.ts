/** When pipelines are made, in which order, and who waits for them. */
import { Effect, Fiber, Layer } from "effect"
import { describe, expect, test, vi } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as WebGpuBackend from "../../../backends/webgpu/Backend.ts"
import * as Attention from "../../../src/Attention.ts"
import { compile } from "../../../src/compile.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import * as Arrays from "../../support/arrays.ts"
import { type Watched, watchedGpu } from "../../support/watchedGpu.ts"

/** Prefill, decode for few rows and what puts its parts together; and what follows at any length. */
const attention = (t: number | "T" = "T", s: number | "S" = "S") =>
  compile(({ q, k, v }) => Tensor.rmsNorm(Attention.scaledDotProductAttention(q, k, v, { mask: "causal" })), {
    q: spec("f32", [1, 1, t, 4]),
    k: spec("f32", [1, 1, s, 4]),
    v: spec("f32", [1, 1, s, 4])
  })

const inputs = (t: number, s = t) => {
  const from = Arrays.random(t)
  const array = (length: number) => Arrays.array(from, "f32", [1, 1, length, 4])
  return { q: array(t), k: array(s), v: array(s) }
}

interface Asked {
  readonly watched: Watched
  /** Names of the pipelines that were asked for. */
  readonly asked: Array<string>
  /** Those of this name wait until `release`, which lets them be made, or fail with an error. */
  readonly hold: (name: string) => (error?: Error) => void
}

/** Runs an effect on a device of its own that calls itself a software device, or a GPU. */
const on = async <A, E>(
  kind: "software" | "hardware",
  effect: (asked: Asked) => Effect.Effect<A, E, Backend>
): Promise<void> => {
  const watched = await watchedGpu()
  const device = await (await watched.gpu.requestAdapter())?.requestDevice()
  if (device === undefined) throw new Error("no adapter")
  const create = device.createComputePipelineAsync.bind(device)
  const asked: Array<string> = []
  const held = new Map<string | undefined, Promise<Error | undefined>>()
  device.createComputePipelineAsync = async (descriptor) => {
    asked.push(descriptor.label ?? "")
    const error = await held.get(descriptor.label)
    if (error !== undefined) throw error
    return create(descriptor)
  }
  const hold = (name: string): ((error?: Error) => void) => {
    let release: (error?: Error) => void = () => {}
    const released = new Promise<Error | undefined>((done) => {
      release = done
    })
    held.set(name, released)
    return release
  }
  const info = { ...nobody, isFallbackAdapter: kind === "software" } as GPUAdapterInfo
  await Effect.gen(function* () {
    yield* effect({ watched, asked, hold })
    expect((yield* Backend).buffersAlive()).toBe(0)
  }).pipe(
    Effect.timeout(100_000),
    Effect.provide(Layer.effect(Backend, WebGpuBackend.make(device, info))),
    Effect.runPromise
  )
  expect(watched.uncaptured).toEqual([])
  device.destroy()
}

const nobody = { vendor: "", architecture: "", device: "", description: "" }

/** Turns of the event loop until so many pipelines are asked for, and some more. */
const until = (asked: ReadonlyArray<string>, count: number) =>
  Effect.promise(async () => {
    while (asked.length < count) await new Promise((done) => setTimeout(done, 5))
    await new Promise((done) => setTimeout(done, 50))
  })

const [prefill, decode, combine, norm] = ["flash_prefill", "flash_decode", "flash_combine", "rms_norm"]

describe("a software device is asked for all when the first call is over", () => {
  const lengths = [
    [40, 40],
    [70, 90],
    [7, 100],
    [1, 30],
    [1, 64],
    [1, 65],
    [2, 2],
    [3, 200],
    [5, 7],
    [1, 4096],
    [0, 5],
    [5, 0]
  ] as const

  test.each(lengths)("and for none at another length, nor when it compiles again: %i × %i first", (t, s) =>
    on("software", ({ watched, asked }) =>
      Effect.gen(function* () {
        const f = yield* attention()
        expect(asked).toEqual([norm, prefill])
        expect((yield* f(inputs(t, s))).shape).toEqual([1, 1, t, 4])
        expect([...asked].sort()).toEqual([combine, decode, decode, prefill, norm].sort())
        const { pipelinesCreated } = yield* Backend
        const counts = () => [asked.length, pipelinesCreated(), watched.pipelines()]
        const { pipelines } = f.stats({ T: 1, S: 1 })
        expect(counts()).toEqual([pipelines, pipelines, pipelines])
        for (const [t, s] of lengths) yield* f(inputs(t, s))
        const again = yield* attention()
        yield* again(inputs(1, 30))
        expect(counts()).toEqual([pipelines, pipelines, pipelines])
      })
    )
  )

  test("by compilation for those that a long call runs, and for all where numbers say which they are", () =>
    on("software", ({ asked }) =>
      Effect.gen(function* () {
        yield* attention(40, 40)
        expect(asked.splice(0)).toEqual([prefill, norm])
        yield* attention(1, "S")
        expect(asked.splice(0)).toEqual([decode, norm, combine])
      })
    ))

  test("for others when the first call has its own", () =>
    on("software", ({ asked, hold }) =>
      Effect.gen(function* () {
        const release = hold("flash_combine")
        const f = yield* attention()
        const first = yield* Effect.forkChild(f(inputs(1, 100)))
        yield* until(asked, 4)
        expect(asked).toEqual([norm, prefill, decode, combine])
        release()
        yield* Fiber.join(first)
        expect(asked).toEqual([norm, prefill, decode, combine, decode])
      })
    ))

  test("one that nobody waits for may fail: a call that needs it asks again", () =>
    on("software", ({ asked, hold }) =>
      Effect.gen(function* () {
        hold("flash_combine")(new Error("no such thing"))
        const f = yield* attention()
        yield* f(inputs(40))
        yield* until(asked, 5)
        const error = yield* Effect.flip(f(inputs(1, 70)))
        expect([error._tag, error.message]).toEqual(["KernelError", expect.stringContaining("no such thing")])
        hold("flash_combine")()
        expect((yield* f(inputs(1, 70))).shape).toEqual([1, 1, 1, 4])
        expect(asked.filter((name) => name === combine)).toHaveLength(3)
      })
    ))

  test("a device that goes away meanwhile is gone for the next call", () =>
    on("software", ({ watched, asked, hold }) =>
      Effect.gen(function* () {
        const release = hold("flash_combine")
        const f = yield* attention()
        yield* f(inputs(40))
        watched.device().destroy()
        release()
        expect((yield* Effect.flip(f(inputs(1, 70))))._tag).toBe("DeviceLost")
        const { length } = asked
        yield* until(asked, length)
        expect(asked).toHaveLength(length)
      })
    ))

  test("a backend that closes meanwhile waits for none, and none that fails then is an error of the process", async () => {
    const rejected = vi.fn()
    process.on("unhandledRejection", rejected)
    let [release, made] = [(_?: Error): void => {}, 0]
    await on("software", ({ asked, hold }) =>
      Effect.gen(function* () {
        release = hold("flash_combine")
        const f = yield* attention()
        yield* f(inputs(40))
        made = asked.length
      })
    )
    expect(made).toBe(5)
    release(new Error("gone"))
    await new Promise((done) => setTimeout(done, 50))
    process.off("unhandledRejection", rejected)
    expect(rejected).not.toHaveBeenCalled()
  })
})

test("a GPU is asked for all at once, since its compilers work side by side", () =>
  on("hardware", ({ asked, hold }) =>
    Effect.gen(function* () {
      const release = hold("flash_prefill")
      const f = yield* attention()
      expect(new Set(asked)).toContain("flash_prefill")
      const { length } = asked
      expect(length).toBe(f.stats({ T: 1, S: 1 }).pipelines)
      release()
      for (const t of [1, 3, 20, 70]) yield* f(inputs(t))
      expect(asked).toHaveLength(length)
    })
  ))

describe("a call waits for its pipelines", () => {
  test("which another does not", () =>
    on("software", ({ asked, hold }) =>
      Effect.gen(function* () {
        const release = hold("flash_decode")
        const f = yield* attention()
        const short = yield* Effect.forkChild(f(inputs(1)))
        expect((yield* f(inputs(40))).shape).toEqual([1, 1, 40, 4])
        expect(asked).toContain("flash_decode")
        expect(short.pollUnsafe()).toBeUndefined()
        release()
        expect((yield* Fiber.join(short)).shape).toEqual([1, 1, 1, 4])
      })
    ))

  test("one that fails is an error of the call that needs it, which may try again", () =>
    on("software", ({ asked, hold }) =>
      Effect.gen(function* () {
        const release = hold("flash_decode")
        const f = yield* attention()
        release(new Error("no such thing"))
        const error = yield* Effect.flip(f(inputs(1)))
        expect(error._tag).toBe("KernelError")
        expect(error.message).toContain("flash_decode")
        expect(error.message).toContain("no such thing")
        expect((yield* f(inputs(40))).shape).toEqual([1, 1, 40, 4])
        yield* until(asked, 6)
        hold("flash_decode")()
        expect((yield* f(inputs(1))).shape).toEqual([1, 1, 1, 4])
      })
    ))

  test("a device that goes away meanwhile, or a caller that gives up, ends the wait", () =>
    on("software", ({ watched, hold }) =>
      Effect.gen(function* () {
        const release = hold("flash_decode")
        const f = yield* attention()
        expect((yield* Effect.flip(Effect.timeout(f(inputs(1)), 10)))._tag).toBe("TimeoutError")
        const short = yield* Effect.forkChild(Effect.flip(f(inputs(1))))
        yield* Effect.yieldNow
        watched.device().destroy()
        release()
        expect((yield* Fiber.join(short))._tag).toBe("DeviceLost")
      })
    ))
})
