/** Work that would take too long for a watchdog is split, and comes out to the bit as in one piece. */
import { Effect, Layer } from "effect"
import { expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as WebGpuBackend from "../../../backends/webgpu/Backend.ts"
import type * as HostArray from "../../../ir/HostArray.ts"
import * as Attention from "../../../src/Attention.ts"
import { compile } from "../../../src/compile.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { upload } from "../../../src/transfer.ts"
import * as Arrays from "../../support/arrays.ts"
import { type Watched, watchedGpu } from "../../support/watchedGpu.ts"

/** Attention, a contraction, rows, a map and an update in place: a kernel of each kind. */
const program = Effect.gen(function* () {
  const f = yield* compile(
    ({ q, k, v, w, cache, at }) => {
      const out = Attention.scaledDotProductAttention(q, k, v, { mask: "causal" })
      const rows = Tensor.softmax(Tensor.matmul(out, w), -1)
      return { rows, sum: Tensor.cumsum(rows, -1), cache: Tensor.updateSlice(cache, rows, at, { axis: 2 }) }
    },
    {
      q: spec("f32", ["B", 4, "T", 8]),
      k: spec("f32", ["B", 2, "S", 8]),
      v: spec("f32", ["B", 2, "S", 8]),
      w: spec("f32", [8, 5]),
      cache: spec("f32", ["B", 4, "C", 5]),
      at: spec("i32", [])
    },
    { donate: ["cache"] }
  )
  return (b: number, t: number, s: number) =>
    Effect.gen(function* () {
      const from = Arrays.random(3)
      const array = (...shape: ReadonlyArray<number>) => Arrays.array(from, "f32", shape)
      const inputs = { q: array(b, 4, t, 8), k: array(b, 2, s, 8), v: array(b, 2, s, 8), w: array(8, 5) }
      const cache = yield* upload(array(b, 4, t + 3, 5))
      const at = { dtype: "i32", shape: [], data: Int32Array.of(2) } as const
      const results = yield* f({ ...inputs, cache, at })
      return Object.values<HostArray.HostArray>(results).map(({ data }) => data)
    }).pipe(Effect.scoped)
})

const lengths: ReadonlyArray<readonly [number, number, number]> = [
  [1, 1, 9],
  [1, 65, 65],
  [3, 70, 41],
  [2, 3, 300]
]

/** Runs it at all lengths, where a submit may hold so many multiply-adds. */
const run = async (watched: Watched, mostWork?: number) => {
  const device = await (await watched.gpu.requestAdapter())?.requestDevice()
  if (device === undefined) throw new Error("no adapter")
  const layer = Layer.effect(Backend, WebGpuBackend.make(device, device.adapterInfo, { mostWork }))
  const counts = () => [watched.calls("submit"), watched.calls("dispatchWorkgroups")] as const
  const results = await Effect.gen(function* () {
    const call = yield* program
    return yield* Effect.forEach(lengths, (l) =>
      Effect.gen(function* () {
        const [submits, dispatches] = counts()
        const data = yield* call(...l)
        return { data, submits: counts()[0] - submits, dispatches: counts()[1] - dispatches }
      })
    )
  }).pipe(Effect.provide(layer), Effect.runPromise)
  expect(watched.buffersAlive()).toBe(0)
  expect(watched.uncaptured).toEqual([])
  device.destroy()
  return results
}

test("several submits, ranges of workgroups, counts that one dimension does not hold: the same bits", async () => {
  const whole = await run(await watchedGpu())
  expect(whole.map(({ submits }) => submits)).toEqual([1, 1, 1, 1])
  const parts = await run(await watchedGpu({ maxComputeWorkgroupsPerDimension: 16 }), 400)
  for (const [i, { data, submits, dispatches }] of parts.entries()) {
    expect(data).toEqual(whole[i]?.data)
    expect(submits).toBeGreaterThan(1)
    expect(dispatches).toBeGreaterThanOrEqual(submits)
  }
  // Some kernel is more than a submit may hold by itself.
  expect(parts[2]?.dispatches).toBeGreaterThan(10 * (whole[2]?.dispatches ?? 0))
})
