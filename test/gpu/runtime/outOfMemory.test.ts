/** A call that finds no memory leaves everything as it was, arguments that it would have taken too. */
import { Effect, Layer } from "effect"
import { expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as WebGpuBackend from "../../../backends/webgpu/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { download, upload } from "../../../src/transfer.ts"
import { watchedGpu } from "../../support/watchedGpu.ts"

/** A cache that is written in place, and then products that need memory between them. */
const program = compile(
  ({ cache, row, at, x }) => {
    const updated = Tensor.updateSlice(cache, row, at, { axis: 0 })
    const read = Tensor.sum(updated, 1)
    return {
      cache: updated,
      read,
      out: Tensor.softmax(Tensor.matmul(Tensor.softmax(Tensor.matmul(x, x), 0), x), 0)
    }
  },
  {
    cache: spec("f32", ["C", 4]),
    row: spec("f32", ["N", 4]),
    at: spec("i32", []),
    x: spec("f32", ["M", "M"])
  },
  { donate: ["cache"] }
)

/** A device whose buffers from so many bytes on get no memory, as one that has none left says it. */
const exhausted = (device: GPUDevice, least: number) => {
  const { createBuffer, popErrorScope } = device
  let failed = false
  let refused = 0
  device.createBuffer = (descriptor) => {
    if (descriptor.size < least) return createBuffer.call(device, descriptor)
    refused++
    // Nothing may be read and written by the host: a buffer that no command can use.
    return createBuffer.call(device, {
      ...descriptor,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE
    })
  }
  // The scope for validation ends first, that for memory second.
  let ends = 0
  device.popErrorScope = async () => {
    const inner = ends++ % 2 === 0
    const error = await popErrorScope.call(device)
    if (inner) {
      failed = error !== null
      return null
    }
    return failed ? new GPUOutOfMemoryError("no memory") : error
  }
  return {
    refused: () => refused,
    restore: () => Object.assign(device, { createBuffer, popErrorScope })
  }
}

test.each([
  ["one submit", undefined],
  ["several submits", 3_000]
])("%s", async (_, mostWork) => {
  const watched = await watchedGpu()
  const device = await (await watched.gpu.requestAdapter())?.requestDevice()
  if (device === undefined) throw new Error("no adapter")
  const layer = Layer.effect(Backend, WebGpuBackend.make(device, device.adapterInfo, { mostWork }))
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* program
    const content = Float64Array.from({ length: 40 }, (_, i) => i)
    const cache = yield* upload(HostArray.fromNumbers("f32", [10, 4], content))
    const m = 70
    const given = {
      row: HostArray.fromNumbers("f32", [1, 4], [-1, -2, -3, -4]),
      at: HostArray.scalar("i32", 2),
      x: HostArray.fromNumbers("f32", [m, m], new Float64Array(m * m).fill(0.1))
    }
    const { refused, restore } = exhausted(device, 4 * m * m)
    for (const _ of [1, 2]) {
      const error = yield* Effect.flip(f({ ...given, cache }))
      expect(error._tag).toBe("OutOfMemory")
      expect(error.hint).toBeTruthy()
      expect(backend.buffersAlive()).toBe(1)
    }
    expect(refused()).toBeGreaterThan(1)
    restore()
    expect([...(yield* download(cache)).data]).toEqual([...content])
    const before = watched.submits()
    const out = yield* f({ ...given, cache })
    expect(watched.submits() - before).toBeGreaterThanOrEqual(mostWork === undefined ? 1 : 2)
    content.set([-1, -2, -3, -4], 8)
    expect([...out.cache.data]).toEqual([...content])
    expect((yield* Effect.flip(download(cache)))._tag).toBe("InvalidArray")
    expect(backend.buffersAlive()).toBe(0)
  }).pipe(Effect.scoped, Effect.provide(layer), Effect.runPromise)
  expect(watched.buffersAlive()).toBe(0)
  expect(watched.uncaptured).toEqual([])
  device.destroy()
})
