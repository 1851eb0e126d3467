/** Who owns device memory, and when it comes back. */
import { Effect, Exit, Fiber, Scope } from "effect"
import { describe, expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { download, upload } from "../../../src/transfer.ts"
import * as WebGpu from "../../../src/WebGpu.ts"
import { sharedGpu } from "../../support/dawn.ts"
import { on, watchedGpu } from "../../support/watchedGpu.ts"

const f32 = (...values: ReadonlyArray<number>) => HostArray.fromNumbers("f32", [values.length], values)
const x = spec("f32", ["N"])
const twice = compile(({ x }) => Tensor.add(x, x), { x })

const awaitedGpu = await sharedGpu()

/** Turns of the event loop until what runs in the background has settled. */
const settled = Effect.promise(() => new Promise((done) => setTimeout(done, 100)))

describe("scopes", () => {
  test("own what is uploaded and what a call leaves on the device", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const f = yield* twice
        const scope = yield* Scope.make()
        const uploaded = yield* Scope.provide(upload(f32(1, 2)), scope)
        const once = yield* Scope.provide(f.onDevice({ x: uploaded }), scope)
        const again = yield* Scope.provide(f.onDevice({ x: once }), scope)
        expect(backend.buffersAlive()).toBe(3)
        expect([...(yield* download(again)).data]).toEqual([4, 8])
        expect([...(yield* f({ x: once })).data]).toEqual([4, 8])
        expect(backend.buffersAlive()).toBe(3)
        yield* Scope.close(scope, Exit.void)
        expect(backend.buffersAlive()).toBe(0)
      })
    )
    expect(watched.buffersAlive()).toBe(0)
    expect(watched.uncaptured).toEqual([])
  })

  test("a device of the library is destroyed with its layer, a caller's own is not", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.flatMap(twice, (f) => f({ x: f32(1) }))
    )
    expect((await watched.device().lost).reason).toBe("destroyed")

    const mine = await watchedGpu()
    const device = await (await mine.gpu.requestAdapter())?.requestDevice()
    if (device === undefined) throw new Error("no adapter")
    for (const _ of [1, 2]) {
      await Effect.gen(function* () {
        const [f, g] = [
          yield* twice,
          yield* compile(({ x }) => Tensor.add(x, Tensor.fromValues([[1], [2]])), { x })
        ]
        expect([...(yield* f({ x: f32(1) })).data]).toEqual([2])
        expect((yield* g({ x: f32(1) })).shape).toEqual([2, 1])
        yield* f.onDevice({ x: f32(1) })
      }).pipe(Effect.scoped, Effect.provide(WebGpu.layerDevice(device)), Effect.runPromise)
      expect(mine.buffersAlive(), "constants and pools included").toBe(0)
    }
    device.pushErrorScope("validation")
    device.createBuffer({ size: 4, usage: GPUBufferUsage.COPY_DST }).destroy()
    expect(await device.popErrorScope()).toBeNull()
    expect(mine.uncaptured).toEqual([])
    device.destroy()
  })

  test("errors that the caller of a shared device makes stay the caller's", async () => {
    const watched = await watchedGpu()
    const device = await (await watched.gpu.requestAdapter())?.requestDevice()
    if (device === undefined) throw new Error("no adapter")
    await Effect.gen(function* () {
      const f = yield* twice
      device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE })
      yield* settled
      expect([...(yield* f({ x: f32(1) })).data]).toEqual([2])
      expect(watched.uncaptured).toHaveLength(1)
    }).pipe(Effect.provide(WebGpu.layerDevice(device)), Effect.runPromise)
    device.destroy()
  })

  test("what outlives its layer is refused", async () => {
    const { f, array, backend } = await Effect.gen(function* () {
      return { f: yield* twice, array: yield* upload(f32(1)), backend: yield* Backend }
    }).pipe(Effect.scoped, Effect.provide(WebGpu.layerWith({ gpu: await sharedGpu() })), Effect.runPromise)
    for (const use of [f({ x: f32(1) }), backend.download(array), Effect.scoped(backend.upload(f32(1)))]) {
      const error = await Effect.runPromise(
        Effect.flip(use as Effect.Effect<unknown, { _tag: string; message: string }>)
      )
      expect(error._tag).toBe("DeviceLost")
      expect(error.message).toContain("scope")
    }
  })
})

describe("interruption", () => {
  test("of a running call leaks nothing, and the next call works", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const f = yield* twice
        yield* f({ x: f32(1) })
        const before = watched.buffersAlive()
        for (const turns of [0, 1, 2, 3, 5, 8]) {
          const called = yield* Effect.forkChild(f({ x: f32(1, 2, 3) }))
          const left = yield* Effect.forkChild(Effect.scoped(f.onDevice({ x: f32(1, 2, 3) })))
          for (let i = 0; i < turns; i++) yield* Effect.yieldNow
          yield* Fiber.interrupt(called)
          yield* Fiber.interrupt(left)
        }
        yield* settled
        expect(backend.buffersAlive()).toBe(0)
        const made = watched.buffersAlive() - before
        expect(made).toBeLessThan(16)
        expect([...(yield* f({ x: f32(5) })).data]).toEqual([10])
        expect(watched.buffersAlive() - before).toBe(made)
      })
    )
    expect(watched.uncaptured).toEqual([])
  })

  test("by a timeout does not wait for the device", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const f = yield* twice
        const device = watched.device()
        const createBuffer = device.createBuffer
        // Nothing is mapped while this is not done: who waited for it would wait for ever.
        let ready = Promise.resolve()
        device.createBuffer = (descriptor) => {
          const buffer = createBuffer(descriptor)
          const map = buffer.mapAsync.bind(buffer)
          buffer.mapAsync = async (...range) => {
            await ready
            return map(...range)
          }
          return buffer
        }
        yield* f({ x: f32(1) })
        let release = (): void => {}
        ready = new Promise((done) => {
          release = done
        })
        const outcome = yield* Effect.flip(Effect.timeout(f({ x: f32(1) }), 50))
        expect(outcome._tag).toBe("TimeoutError")
        expect(backend.buffersAlive()).toBe(0)
        release()
        device.createBuffer = createBuffer
        expect([...(yield* f({ x: f32(5) })).data]).toEqual([10])
      })
    )
  })
})

describe("donation", () => {
  const cache = compile(
    ({ cache, row, at }) => Tensor.updateSlice(cache, row, at, { axis: 0 }),
    { cache: spec("f32", ["C", 4]), row: spec("f32", ["N", 4]), at: spec("i32", []) },
    { donate: ["cache"] }
  )
  const inputs = (c: number) => ({
    cache: HostArray.fromNumbers(
      "f32",
      [c, 4],
      Array.from({ length: 4 * c }, (_, i) => i)
    ),
    row: HostArray.fromNumbers("f32", [1, 4], [-1, -2, -3, -4]),
    at: HostArray.scalar("i32", 1)
  })
  const expected = (c: number) => {
    const data = Array.from({ length: 4 * c }, (_, i) => i)
    data.splice(4, 4, -1, -2, -3, -4)
    return data
  }

  test("an update is in place: no buffer more, and the argument is gone", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const f = yield* cache
        const { row, at, ...rest } = inputs(5)
        let held = yield* upload(rest.cache)
        held = yield* f.onDevice({ cache: held, row, at })
        const created = watched.buffersCreated()
        for (let i = 0; i < 20; i++) {
          const old = held
          held = yield* f.onDevice({ cache: old, row, at })
          const error = yield* Effect.flip(download(old))
          expect(error._tag).toBe("InvalidArray")
          expect(error.message).toContain("donated")
        }
        expect(watched.buffersCreated()).toBe(created)
        expect(backend.buffersAlive()).toBe(1)
        expect([...(yield* download(held)).data]).toEqual(expected(5))
        // A host array is copied to the device for the call: there is nothing to give away.
        expect([...(yield* f(inputs(5))).data]).toEqual(expected(5))
        expect([...(yield* f({ cache: held, row, at })).data]).toEqual(expected(5))
        expect(backend.buffersAlive()).toBe(0)
      }).pipe(Effect.scoped)
    )
    expect(watched.buffersAlive()).toBe(0)
    expect(watched.uncaptured).toEqual([])
  })

  test("without it the argument stays as it is", () =>
    Effect.gen(function* () {
      const f = yield* compile(({ cache, row, at }) => Tensor.updateSlice(cache, row, at, { axis: 0 }), {
        cache: spec("f32", ["C", 4]),
        row: spec("f32", ["N", 4]),
        at: spec("i32", [])
      })
      const { row, at, cache } = inputs(3)
      const held = yield* upload(cache)
      const out = yield* f.onDevice({ cache: held, row, at })
      expect([...(yield* download(out)).data]).toEqual(expected(3))
      expect([...(yield* download(held)).data]).toEqual([...cache.data])
    }).pipe(Effect.scoped, Effect.provide(WebGpu.layerWith({ gpu: awaitedGpu })), Effect.runPromise))

  test("twice, or beside another use, is refused and takes nothing", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const f = yield* compile(
        ({ a, b }) => ({ a: Tensor.add(a, 1), b: Tensor.add(b, 1) }),
        { a: x, b: x },
        { donate: ["a", "b"] }
      )
      const held = yield* upload(f32(1, 2))
      const error = yield* Effect.flip(f({ a: held, b: held }))
      expect(error._tag).toBe("InvalidArray")
      expect(error.message).toContain('"a"')
      expect(backend.buffersAlive()).toBe(1)
      const out = yield* f({ a: held, b: f32(3, 4) })
      expect([[...out.a.data], [...out.b.data]]).toEqual([
        [2, 3],
        [4, 5]
      ])
      expect((yield* Effect.flip(f({ a: held, b: f32(3, 4) })))._tag).toBe("InvalidArray")
      expect(backend.buffersAlive()).toBe(0)
    }).pipe(Effect.scoped, Effect.provide(WebGpu.layerWith({ gpu: awaitedGpu })), Effect.runPromise))

  test("to two calls at once: one gets it, the other is refused", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const f = yield* cache
      const { row, at, ...rest } = inputs(4)
      const held = yield* upload(rest.cache)
      const results = yield* Effect.all(
        [1, 2].map(() => Effect.exit(f({ cache: held, row, at }))),
        { concurrency: "unbounded" }
      )
      expect(results.map(Exit.isSuccess).sort()).toEqual([false, true])
      expect(backend.buffersAlive()).toBe(0)
    }).pipe(Effect.scoped, Effect.provide(WebGpu.layerWith({ gpu: awaitedGpu })), Effect.runPromise))
})
