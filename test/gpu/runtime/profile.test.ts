/** What each kernel takes, by the device's clock and by the host's. */
import { Effect, Exit, Fiber } from "effect"
import { describe, expect, test } from "vitest"
import { create } from "webgpu"
import { Backend } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as Profile from "../../../src/Profile.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { download, upload } from "../../../src/transfer.ts"
import * as WebGpu from "../../../src/WebGpu.ts"
import { sharedGpu } from "../../support/dawn.ts"
import { on, watchedGpu } from "../../support/watchedGpu.ts"

/** A contraction, a norm and an update in place. */
const program = compile(
  ({ x, w, cache, at }) => {
    const y = Tensor.rmsNorm(Tensor.matmul(x, w))
    return { cache: Tensor.updateSlice(cache, y, at, { axis: 0 }) }
  },
  { x: spec("f32", ["T", 4]), w: spec("f32", [4, 4]), cache: spec("f32", ["C", 4]), at: spec("i32", []) },
  { donate: ["cache"] }
)

const inputs = (t: number) => ({
  x: HostArray.fromNumbers("f32", [t, 4], new Float64Array(4 * t).fill(0.5)),
  w: HostArray.fromNumbers("f32", [4, 4], new Float64Array(16).fill(0.25)),
  at: HostArray.scalar("i32", 1)
})

const cacheOf = (t: number) => upload(HostArray.zeros("f32", [t + 2, 4]))

/** The software GPU, or as it would be without timestamps. */
const gpuOf = async (timestamps: boolean) => {
  const watched = await watchedGpu()
  if (timestamps) return watched
  const request = watched.gpu.requestAdapter.bind(watched.gpu)
  const requestAdapter = async () => {
    const adapter = (await request()) as GPUAdapter
    return {
      features: new Set([...adapter.features].filter((f) => f !== "timestamp-query")),
      limits: adapter.limits,
      info: adapter.info,
      requestDevice: adapter.requestDevice.bind(adapter)
    }
  }
  return { ...watched, gpu: { requestAdapter } as unknown as GPU }
}

describe.each([
  ["device", true],
  ["host", false]
] as const)("by the %s's clock", (clock, timestamps) => {
  test("every kernel that ran, in order; arguments stay what they are, those that a call would take too", async () => {
    const watched = await gpuOf(timestamps)
    await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const f = yield* program
        for (const t of [1, 5, 700]) {
          const cache = yield* cacheOf(t)
          const alive = backend.buffersAlive()
          const { kernels, ...told } = yield* f.profile({ ...inputs(t), cache })
          expect(told.clock).toBe(clock)
          expect(kernels.map(({ name }) => name.split("_")[0])).toEqual(["matmul", "rms", "update"])
          for (const [i, { begin, end, workgroups }] of kernels.entries()) {
            expect(end).toBeGreaterThanOrEqual(begin)
            expect(begin).toBeGreaterThanOrEqual(kernels[i - 1]?.begin ?? 0)
            expect(workgroups).toBeGreaterThan(0)
          }
          expect(told.host.wait).toBeGreaterThan(0)
          expect(told.host.encode).toBeGreaterThan(0)
          expect(backend.buffersAlive()).toBe(alive)
          expect([...(yield* download(cache)).data]).toEqual(Array(4 * t + 8).fill(0))
          yield* f.profile({ ...inputs(t), cache })
          yield* f({ ...inputs(t), cache })
          expect((yield* Effect.flip(f.profile({ ...inputs(t), cache })))._tag).toBe("InvalidArray")
        }
        const held = yield* cacheOf(5)
        const out = yield* f({ ...inputs(5), cache: held })
        expect(out.cache.shape).toEqual([7, 4])
        const created = watched.buffersCreated()
        const again = yield* cacheOf(5)
        yield* f.profile({ ...inputs(5), cache: again })
        expect(watched.buffersCreated()).toBe(created)
      }).pipe(Effect.scoped)
    )
    expect(watched.buffersAlive()).toBe(0)
    expect(watched.uncaptured).toEqual([])
  })

  test("no kernel at all", async () => {
    const watched = await gpuOf(timestamps)
    await on(
      watched,
      Effect.gen(function* () {
        const f = yield* compile(({ x }) => Tensor.neg(x), { x: spec("f32", ["N"]) })
        expect((yield* f.profile({ x: HostArray.zeros("f32", [0]) })).kernels).toEqual([])
      })
    )
    expect(watched.uncaptured).toEqual([])
  })

  test.each([0, 1, 3])("a device that goes away %d turns in is an error with a name", async (turns) => {
    const watched = await gpuOf(timestamps)
    await on(
      watched,
      Effect.gen(function* () {
        const f = yield* compile(({ x }) => Tensor.softmax(x, -1), { x: spec("f32", ["N"]) })
        const running = yield* Effect.forkChild(Effect.exit(f.profile({ x: HostArray.zeros("f32", [999]) })))
        for (let i = 0; i < turns; i++) yield* Effect.promise(() => Promise.resolve())
        watched.device().destroy()
        const { _tag } = yield* Effect.flip(f.profile({ x: HostArray.zeros("f32", [3]) }))
        expect(_tag).toBe("DeviceLost")
        const outcome = yield* Fiber.join(running)
        if (Exit.isFailure(outcome)) expect((yield* Effect.flip(outcome))._tag).toBe("DeviceLost")
        expect((yield* Backend).buffersAlive()).toBe(0)
      }).pipe(Effect.timeout(10_000))
    )
    expect(watched.uncaptured).toEqual([])
  })
})

test("memory that runs out once: the call is made again, and of what was made for the first nothing is left", async () => {
  const watched = await gpuOf(true)
  await on(
    watched,
    Effect.gen(function* () {
      const f = yield* program
      const cache = yield* cacheOf(900)
      // The second call asks for the pipelines that the first did without.
      const small = { ...inputs(5), cache: yield* cacheOf(5) }
      for (const _ of [1, 2]) yield* f.profile(small)
      const device = watched.device()
      let [sets, destroyed, scopes] = [0, 0, 0]
      const { createQuerySet, popErrorScope } = device
      device.createQuerySet = (descriptor) => {
        const set = createQuerySet.call(device, descriptor)
        sets++
        const destroy = set.destroy.bind(set)
        let gone = false
        set.destroy = () => {
          if (!gone) destroyed++
          gone = true
          return destroy()
        }
        return set
      }
      // The copy of the cache is the first to want memory, the call itself the second: it is told that there is none.
      device.popErrorScope = async () => {
        const error = await popErrorScope.call(device)
        return ++scopes === 4 ? new GPUOutOfMemoryError("no memory") : error
      }
      const { kernels } = yield* f.profile({ ...inputs(900), cache })
      expect(kernels).toHaveLength(3)
      expect([sets, destroyed]).toEqual([2, 2])
      expect((yield* Backend).buffersAlive()).toBe(2)
    }).pipe(Effect.scoped)
  )
  expect(watched.buffersAlive()).toBe(0)
  expect(watched.uncaptured).toEqual([])
})

test("a clock that is rounded, as pages get it, is told", async () => {
  await sharedGpu()
  await Effect.gen(function* () {
    const f = yield* compile(({ x }) => Tensor.softmax(x, -1), { x: spec("f32", ["N"]) })
    const told = yield* f.profile({ x: HostArray.zeros("f32", [999]) })
    expect(told).toMatchObject({ clock: "device", resolution: 65_536 })
    expect(Profile.caveat(told)).toContain("65.536 µs")
  }).pipe(Effect.provide(WebGpu.layerWith({ gpu: create([]) })), Effect.runPromise)
})
