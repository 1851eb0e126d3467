/** When pipelines are made, in which order, and who waits for them. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Effect, Fiber, Layer } from "effect"
import { describe, expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as WebGpuBackend from "../../../backends/webgpu/Backend.ts"
import type { Options } from "../../../backends/webgpu/runtime/Session.ts"
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
  options: Options,
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
    Effect.timeout(20_000),
    Effect.provide(Layer.effect(Backend, WebGpuBackend.make(device, info, options))),
    Effect.runPromise
  )
  expect(watched.uncaptured).toEqual([])
  device.destroy()
}

const nobody = { vendor: "", architecture: "", device: "", description: "" }
const [never, soon] = [{ idleAfter: Infinity }, { idleAfter: 5 }]

/** Turns of the event loop until so many pipelines are asked for, and some more. */
const until = (asked: ReadonlyArray<string>, count: number) =>
  Effect.promise(async () => {
    while (asked.length < count) await new Promise((done) => setTimeout(done, 5))
    await new Promise((done) => setTimeout(done, 50))
  })

describe("a software device makes the pipelines that a call needs", () => {
  test("compilation those of all calls, a call its own, other lengths of the same kernels none", () =>
    on("software", never, ({ asked }) =>
      Effect.gen(function* () {
        const f = yield* attention()
        const made = [asked.splice(0)]
        for (const [t, s] of [
          [40, 40],
          [70, 90],
          [1, 30],
          [1, 64],
          [1, 65],
          [2, 2],
          [3, 200],
          [5, 7],
          [1, 1000]
        ] as const) {
          expect((yield* f(inputs(t, s))).shape).toEqual([1, 1, t, 4])
          made.push(asked.splice(0))
        }
        const prefill = ["flash_prefill"]
        const [decode, combine] = [["flash_decode"], ["flash_combine"]]
        expect(made).toEqual([["rms_norm"], prefill, [], decode, [], combine, decode, [], [], []])
        expect(made.flat()).toHaveLength(f.stats({ T: 1, S: 1 }).pipelines)
      })
    ))

  test("compilation all, where numbers say which those are", () =>
    on("software", never, ({ asked }) =>
      Effect.gen(function* () {
        yield* attention(40, 40)
        expect(asked.splice(0)).toEqual(["flash_prefill", "rms_norm"])
        yield* attention(1, "S")
        expect(asked.splice(0)).toEqual(["flash_decode", "rms_norm"])
      })
    ))

  test("one after the other when nobody asks for anything, those of long calls first", () =>
    on("software", soon, ({ asked, hold }) =>
      Effect.gen(function* () {
        const release = hold("flash_combine")
        const f = yield* attention()
        yield* until(asked, 3)
        const first = ["rms_norm", "flash_prefill", "flash_combine"]
        expect(asked).toEqual(first)
        release()
        yield* until(asked, 5)
        expect(asked).toEqual([...first, "flash_decode", "flash_decode"])
        yield* f(inputs(40))
        yield* f(inputs(1, 70))
        // Another program of the same kernels finds them.
        yield* attention()
        expect(asked).toHaveLength(5)
      })
    ))

  test("for programs that somebody holds", () =>
    on("software", { idleAfter: 200 }, ({ asked }) =>
      Effect.gen(function* () {
        yield* Effect.asVoid(attention())
        yield* Effect.promise(() => new Promise((done) => setTimeout(done, 50)))
        setFlagsFromString("--expose-gc")
        runInNewContext("gc")()
        yield* Effect.promise(() => new Promise((done) => setTimeout(done, 600)))
        expect(asked).toEqual(["rms_norm"])
      })
    ))

  test("a device that goes away ends that", () =>
    on("software", soon, ({ watched, asked, hold }) =>
      Effect.gen(function* () {
        const release = hold("flash_prefill")
        const f = yield* attention()
        yield* until(asked, 2)
        watched.device().destroy()
        release()
        expect((yield* Effect.flip(f(inputs(1))))._tag).toBe("DeviceLost")
        const { length } = asked
        yield* until(asked, length)
        expect(asked).toHaveLength(length)
      })
    ))
})

test("a GPU is asked for all at once, since its compilers work side by side", () =>
  on("hardware", never, ({ asked, hold }) =>
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
    on("software", never, ({ asked, hold }) =>
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
    on("software", never, ({ hold }) =>
      Effect.gen(function* () {
        const release = hold("flash_decode")
        const f = yield* attention()
        release(new Error("no such thing"))
        const error = yield* Effect.flip(f(inputs(1)))
        expect(error._tag).toBe("KernelError")
        expect(error.message).toContain("flash_decode")
        expect(error.message).toContain("no such thing")
        expect((yield* f(inputs(40))).shape).toEqual([1, 1, 40, 4])
        hold("flash_decode")()
        expect((yield* f(inputs(1))).shape).toEqual([1, 1, 1, 4])
      })
    ))

  test("a device that goes away meanwhile, or a caller that gives up, ends the wait", () =>
    on("software", never, ({ watched, hold }) =>
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
