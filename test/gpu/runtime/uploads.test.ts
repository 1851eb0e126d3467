/** How arguments reach a device in another process, as a browser's: through mapped buffers that take turns. */
import { Effect, Layer } from "effect"
import { expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as WebGpuBackend from "../../../backends/webgpu/Backend.ts"
import type * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import type { RunError } from "../../../src/errors.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { download, upload } from "../../../src/transfer.ts"
import { type Watched, watchedGpu } from "../../support/watchedGpu.ts"

/** As from a browser: the device in another process. */
const remotely = async <A, E>(watched: Watched, effect: Effect.Effect<A, E, Backend>) => {
  const device = await (await watched.gpu.requestAdapter())?.requestDevice()
  if (device === undefined) throw new Error("no adapter")
  const layer = Layer.effect(Backend, WebGpuBackend.make(device, device.adapterInfo, { remote: true }))
  const result = await Effect.runPromise(Effect.provide(effect, layer))
  expect(watched.buffersAlive()).toBe(0)
  expect(watched.uncaptured).toEqual([])
  device.destroy()
  return result
}

/** A megabyte, odd in length. */
const length = 2 ** 18 + 3
const large = (first: number): HostArray.HostArray<"f32"> => ({
  dtype: "f32",
  shape: [length],
  data: Float32Array.from({ length }, (_, i) => first + (i % 1000))
})
const plusOne = compile(({ x }) => Tensor.add(x, 1), { x: spec("f32", ["N"]) })

/** Whether an array holds what `large` says and one more. */
const isNext = ({ data }: HostArray.HostArray, first: number): boolean =>
  data.length === length && data.every((x, i) => x === first + (i % 1000) + 1)

test("a large argument is a copy in the call's own submit; two buffers take turns, and no more are made", async () => {
  const watched = await watchedGpu()
  await remotely(
    watched,
    Effect.gen(function* () {
      const f = yield* plusOne
      for (let i = 0; i < 4; i++) expect(isNext(yield* f({ x: large(i) }), i)).toBe(true)
      const [created, writes, submits] = [
        watched.buffersCreated(),
        watched.calls("writeBuffer"),
        watched.submits()
      ]
      for (let i = 4; i < 8; i++) expect(isNext(yield* f({ x: large(i) }), i)).toBe(true)
      expect(watched.buffersCreated()).toBe(created)
      expect(watched.calls("writeBuffer")).toBe(writes)
      expect(watched.submits() - submits).toBe(4)
      // An upload is a submit of its own; what is small goes the queue's way.
      const held = yield* upload(large(8))
      expect(watched.submits() - submits).toBe(5)
      expect(isNext(yield* f({ x: held }), 8)).toBe(true)
      yield* upload({ dtype: "f32", shape: [3], data: Float32Array.of(1, 2, 3) })
      expect(watched.calls("writeBuffer")).toBe(writes + 1)
      expect(watched.submits() - submits).toBe(6)
      // Of nothing there is nothing to write, which ends the process in Deno.
      yield* upload({ dtype: "f32", shape: [0], data: new Float32Array(0) })
      expect(watched.calls("writeBuffer")).toBe(writes + 1)
    }).pipe(Effect.scoped)
  )
})

test("calls that are under way together fill buffers of their own", async () => {
  const watched = await watchedGpu()
  await remotely(
    watched,
    Effect.gen(function* () {
      const f = yield* plusOne
      const firsts = [0, 1, 2, 3, 4]
      for (const _ of [1, 2]) {
        const results = yield* Effect.all(
          firsts.map((first) => f({ x: large(first) })),
          { concurrency: "unbounded" }
        )
        expect(results.map((r, i) => isNext(r, i))).toEqual(firsts.map(() => true))
      }
    })
  )
})

test("every dtype arrives: 16-bit elements of odd number, and bools, which are words there", async () => {
  const watched = await watchedGpu()
  await remotely(
    watched,
    Effect.gen(function* () {
      const n = 2 ** 19 + 1
      const arrays: ReadonlyArray<HostArray.HostArray> = [
        { dtype: "f16", shape: [n], data: Uint16Array.from({ length: n }, (_, i) => i % 30_000) },
        { dtype: "bool", shape: [n], data: Uint8Array.from({ length: n }, (_, i) => i % 2) }
      ]
      for (const array of arrays) {
        expect((yield* download(yield* upload(array))).data).toEqual(array.data)
      }
      expect(watched.calls("writeBuffer")).toBe(0)
    }).pipe(Effect.scoped)
  )
})

test("memory that cannot be mapped, or is short, is no loss: the queue writes, or the call says so and the next one works", async () => {
  const watched = await watchedGpu()
  await remotely(
    watched,
    Effect.gen(function* () {
      const f = yield* plusOne
      const device = watched.device()
      const createBuffer = device.createBuffer
      device.createBuffer = (descriptor) => {
        if (descriptor.mappedAtCreation === true) throw new RangeError("no memory to map")
        return createBuffer(descriptor)
      }
      expect(isNext(yield* f({ x: large(1) }), 1)).toBe(true)
      expect(watched.calls("writeBuffer")).toBeGreaterThan(0)
      device.createBuffer = createBuffer
      const popErrorScope = device.popErrorScope
      let scopes = 0
      device.popErrorScope = async () => {
        const error = await popErrorScope.call(device)
        return ++scopes % 2 === 0 ? new GPUOutOfMemoryError("no memory") : error
      }
      const error: RunError = yield* Effect.flip(f({ x: large(2) }))
      expect(error._tag).toBe("OutOfMemory")
      device.popErrorScope = popErrorScope
      expect(isNext(yield* f({ x: large(3) }), 3)).toBe(true)
      expect((yield* Backend).buffersAlive()).toBe(0)
    })
  )
})
