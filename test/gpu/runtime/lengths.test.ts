/** Lengths live in uniforms: what one call costs the device, and what many calls leave behind. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Effect, Layer } from "effect"
import { expect, test } from "vitest"
import { Backend, type DeviceArray } from "../../../backends/Backend.ts"
import * as WebGpuBackend from "../../../backends/webgpu/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import type { RunError } from "../../../src/errors.ts"
import * as Mask from "../../../src/Mask.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { upload } from "../../../src/transfer.ts"
import * as WebGpu from "../../../src/WebGpu.ts"
import * as Arrays from "../../support/arrays.ts"
import { watchedGpu } from "../../support/watchedGpu.ts"

const attention = compile(
  ({ q, k, v }) =>
    Tensor.matmul(q, Tensor.transpose(k)).pipe(
      Tensor.mul(0.5),
      Mask.apply(Mask.causal),
      Tensor.softmax(-1),
      Tensor.matmul(v)
    ),
  {
    q: spec("f32", ["B", 2, "T", 4]),
    k: spec("f32", ["B", 2, "S", 4]),
    v: spec("f32", ["B", 2, "S", 4])
  }
)

const inputs = (seed: number, b: number, t: number, s: number) => {
  const from = Arrays.random(seed)
  return {
    q: Arrays.array(from, "f32", [b, 2, t, 4]),
    k: Arrays.array(from, "f32", [b, 2, s, 4]),
    v: Arrays.array(from, "f32", [b, 2, s, 4])
  }
}

test("a call is one submit, and another length of the same kernels compiles nothing", async () => {
  const watched = await watchedGpu()
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* attention
    yield* f(inputs(0, 1, 40, 40))
    const pipelines = backend.pipelinesCreated()
    expect(pipelines).toBe(f.stats({ B: 1, T: 1, S: 1 }).pipelines)
    expect(watched.pipelines()).toBe(pipelines)
    for (const [i, [b, t, s]] of (
      [
        [1, 1, 400],
        [1, 3, 3],
        [1, 1, 17],
        [2, 40, 70],
        [3, 1, 1],
        [0, 5, 5],
        [1, 0, 5],
        [1, 5, 0]
      ] as const
    ).entries()) {
      const before = watched.submits()
      const out = yield* f(inputs(i, b, t, s))
      expect(out.shape).toEqual([b, 2, t, 4])
      expect(HostArray.toNumbers(out).every(Number.isFinite)).toBe(true)
      expect(watched.submits() - before).toBe(1)
    }
    expect(backend.pipelinesCreated()).toBe(pipelines)
    expect(watched.pipelines()).toBe(pipelines)
    expect(watched.uncaptured).toEqual([])
  }).pipe(Effect.provide(WebGpu.layerWith({ gpu: watched.gpu })), Effect.runPromise)
})

test("many calls at varying lengths settle at a fixed set of buffers", async () => {
  const watched = await watchedGpu()
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* compile(({ x, y }) => ({ product: Tensor.matmul(x, y), exp: Tensor.exp(x) }), {
      x: spec("f32", ["M", "K"]),
      y: spec("f32", ["K", "N"])
    })
    const from = Arrays.random(7)
    const call = () => {
      const [m, k, n] = [1, 2, 3].map(() => from.integer(0, 23)) as [number, number, number]
      return f({ x: HostArray.zeros("f32", [m, k]), y: HostArray.zeros("f32", [k, n]) })
    }
    for (let i = 0; i < 100; i++) yield* call()
    const [created, alive, pipelines] = [
      watched.buffersCreated(),
      watched.buffersAlive(),
      watched.pipelines()
    ]
    for (let i = 0; i < 100; i++) {
      yield* call()
      expect(backend.buffersAlive()).toBe(0)
    }
    // A size class that was not seen before may come; what is there is used again.
    expect(created).toBeLessThan(60)
    expect(watched.buffersCreated() - created).toBeLessThan(10)
    expect(watched.buffersAlive()).toBeLessThan(alive + 10)
    expect(watched.pipelines()).toBe(pipelines)
    expect(watched.submits()).toBe(200)
  }).pipe(Effect.provide(WebGpu.layerWith({ gpu: watched.gpu })), Effect.runPromise)
  expect(watched.buffersAlive()).toBe(0)
})

test("results on the device are one submit, a download another", async () => {
  const watched = await watchedGpu()
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* compile(({ x }) => [Tensor.exp(x), Tensor.neg(x)] as const, { x: spec("f32", ["N"]) })
    const [a] = yield* f.onDevice({ x: HostArray.zeros("f32", [3]) })
    expect(watched.submits()).toBe(1)
    expect([...(yield* backend.download(a)).data]).toEqual([1, 1, 1])
    expect(watched.submits()).toBe(2)
  }).pipe(Effect.scoped, Effect.provide(WebGpu.layerWith({ gpu: watched.gpu })), Effect.runPromise)
})

/** Collects garbage; Node hides the function unless a flag asks for it. */
const collect = (): void => {
  setFlagsFromString("--expose-gc")
  runInNewContext("gc")()
}

test("10,000 calls at varying lengths: memory of the device and of the host stay as they are", async () => {
  const watched = await watchedGpu()
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* compile(({ x, w }) => Tensor.softmax(Tensor.rmsNorm(Tensor.matmul(x, w)), 0), {
      x: spec("f32", ["M", 4]),
      w: spec("f32", [4, "N"])
    })
    const attend = yield* attention
    const w = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (n) => upload(HostArray.zeros("f32", [4, n])))
    const held = backend.buffersAlive()
    /** Attention of one query and of several, whose keys are split into as many parts as there are. */
    const operands = (n: number) => {
      const array = (length: number) => HostArray.zeros("f32", [1, 2, length, 4])
      const [t, s] = [n % 2 === 0 ? 1 : 9, 1 + 9 * (n % 50)]
      return { q: array(t), k: array(s), v: array(s) }
    }
    // Every length is met with every other and read now and then, all of it within 2,100 calls.
    let i = 0
    const call = Effect.suspend((): Effect.Effect<unknown, RunError> => {
      const inputs = { x: HostArray.zeros("f32", [i % 50, 4]), w: w[i % 6] as DeviceArray }
      const qkv = i % 6 === 0 ? operands(i / 6) : undefined
      i++
      if (qkv !== undefined) return i % 7 === 0 ? attend(qkv) : Effect.scoped(attend.onDevice(qkv))
      return i % 7 === 0 ? f(inputs) : Effect.scoped(f.onDevice(inputs))
    })
    const after = (calls: number) =>
      Effect.gen(function* () {
        for (let n = 0; n < calls; n++) yield* call
        collect()
        const { heapUsed } = process.memoryUsage()
        return { buffers: watched.buffersAlive(), bytes: watched.bytesAlive(), heapUsed }
      })
    // Every size class and every place in a cache has been taken by then, and every kernel has run.
    const settled = yield* after(3_000)
    const pipelines = watched.pipelines()
    const created = watched.buffersCreated()
    const end = yield* after(7_000)
    expect([end.buffers, end.bytes]).toEqual([settled.buffers, settled.bytes])
    expect(watched.buffersCreated()).toBe(created)
    expect(backend.buffersAlive()).toBe(held)
    expect(watched.pipelines()).toBe(pipelines)
    // One object that is kept of each call takes more.
    expect((end.heapUsed - settled.heapUsed) / 7_000).toBeLessThan(40)
  }).pipe(Effect.scoped, Effect.provide(WebGpu.layerWith({ gpu: watched.gpu })), Effect.runPromise)
  expect(watched.buffersAlive()).toBe(0)
  expect(watched.uncaptured).toEqual([])
})

/** A cache that is overwritten, and what is read of a large argument. */
const kept = compile(
  ({ cache, row, at, x }) => ({
    cache: Tensor.updateSlice(cache, row, at, { axis: 0 }),
    last: Tensor.add(Tensor.slice(x, 0, { start: 0, stop: 2 }), 1)
  }),
  {
    cache: spec("f32", ["C", 4]),
    row: spec("f32", ["N", 4]),
    at: spec("i32", []),
    x: spec("f32", ["M"])
  },
  { donate: ["cache"] }
)

test("10,000 calls that keep a cache in one scope, with large arguments in turns: memory stays as it is", async () => {
  const watched = await watchedGpu()
  const device = await (await watched.gpu.requestAdapter())?.requestDevice()
  if (device === undefined) throw new Error("no adapter")
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* kept
    // Half a megabyte and more goes through mapped buffers.
    const large = [0, 7, 20_000].map((more) => HostArray.zeros("f32", [2 ** 17 + more]))
    const small = HostArray.zeros("f32", [2])
    const caches = yield* Effect.forEach([8, 100], (n) => upload(HostArray.zeros("f32", [n, 4])))
    let i = 0
    const call = Effect.gen(function* () {
      const n = i++
      const at = HostArray.scalar("i32", n % 3)
      const cache = caches[n % 2] as DeviceArray
      const x = n % 7 === 0 ? (large[n % 3] as HostArray.HostArray<"f32">) : small
      const out = yield* f.onDevice({ cache, row: HostArray.zeros("f32", [n % 6, 4]), at, x })
      caches[n % 2] = out.cache
      if (n % 7 === 0) yield* backend.download(out.last)
      yield* backend.free(out.last)
    })
    const after = (calls: number) =>
      Effect.gen(function* () {
        for (let n = 0; n < calls; n++) yield* call
        yield* backend.download(caches[0] as DeviceArray)
        collect()
        return {
          buffers: watched.buffersAlive(),
          bytes: watched.bytesAlive(),
          heapUsed: process.memoryUsage().heapUsed
        }
      })
    const settled = yield* after(3_000)
    const end = yield* after(7_000)
    expect([end.buffers, end.bytes]).toEqual([settled.buffers, settled.bytes])
    expect(backend.buffersAlive()).toBe(2)
    expect((end.heapUsed - settled.heapUsed) / 7_000).toBeLessThan(40)
  }).pipe(
    Effect.scoped,
    Effect.provide(Layer.effect(Backend, WebGpuBackend.make(device, device.adapterInfo, { remote: true }))),
    Effect.runPromise
  )
  expect(watched.buffersAlive()).toBe(0)
  expect(watched.uncaptured).toEqual([])
  device.destroy()
})
