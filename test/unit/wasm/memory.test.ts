/** Memory of the WebAssembly backend: pieces, where the parts of a call lie, what grows and what does not. */
import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import type { DeviceArray } from "../../../backends/Backend.ts"
import * as WasmBackend from "../../../backends/wasm/Backend.ts"
import { firstAddress } from "../../../backends/wasm/limits.ts"
import type * as Program from "../../../backends/wasm/Program.ts"
import * as Heap from "../../../backends/wasm/runtime/Heap.ts"
import { layout } from "../../../backends/wasm/runtime/layout.ts"
import * as Session from "../../../backends/wasm/runtime/Session.ts"
import * as Dim from "../../../ir/Dim.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import * as arrays from "../../support/arrays.ts"
import { cacheUpdate } from "../../support/donated.ts"
import { graphOf } from "../../support/evaluate.ts"
import { plainAttention } from "../../support/irText.ts"
import { double, withWasm } from "../../support/onWasm.ts"
import { planOf } from "../../support/plans.ts"

const none = { donated: new Set<number>() }

describe("a heap", () => {
  const growing = (limit: number): Heap.Growth => {
    let size = 1024
    return {
      limit,
      size: () => size,
      grow: (bytes) => {
        size = bytes
        return true
      }
    }
  }

  test("pieces never meet, and what is given back is used again", () => {
    const from = arrays.random(3)
    const heap = Heap.make(growing(2 ** 30))
    const held = new Map<number, number>()
    for (let n = 0; n < 3000; n++) {
      if (from.next() < 0.55) {
        const bytes = from.integer(0, 5000)
        held.set(
          heap.allocate(bytes, () => "a piece"),
          bytes
        )
      } else {
        const address = from.pick([...held.keys(), -1])
        if (held.delete(address)) heap.release(address)
      }
    }
    const sorted = [...held].sort(([a], [b]) => a - b)
    sorted.forEach(([address, bytes], i) => {
      expect(address % 64).toBe(0)
      expect(address + bytes).toBeLessThanOrEqual(sorted[i + 1]?.[0] ?? heap.extent())
    })
    expect(heap.alive()).toBe(held.size)
    for (const address of held.keys()) heap.release(address)
    expect([heap.alive(), heap.extent()]).toEqual([0, firstAddress])
  })

  test("what does not fit is refused by name and takes nothing", () => {
    const heap = Heap.make(growing(10_000))
    heap.allocate(5000, () => "the first")
    const extent = heap.extent()
    expect(() => heap.allocate(5000, () => "the second")).toThrow("the second takes 5000 bytes")
    expect([heap.alive(), heap.extent()]).toEqual([1, extent])
  })
})

describe("ten thousand calls at varying lengths hold memory flat", () => {
  /** A session that the test can look into, and how far its memory reaches. */
  const open = () => {
    const session = Session.make({ threads: 1 })
    const reach = () => [session.heap.extent(), session.memory.buffer.byteLength, session.heap.alive()]
    return { backend: WasmBackend.of(session), reach }
  }
  const ones = (T: number, S: number) =>
    ({ dtype: "f32", shape: [T, S], data: new Float32Array(T * S).fill(1) }) as const

  test("with results read back", async () => {
    const { backend, reach } = open()
    const f = await Effect.runPromise(backend.compile(planOf(graphOf(double))))
    const from = arrays.random(1)
    const call = async (T: number, S: number) => {
      const [y] = await Effect.runPromise(f.call([ones(T, S)], { T, S }, none))
      expect(y?.data.every((v) => v === 2)).toBe(true)
    }
    await call(40, 40)
    const before = reach()
    for (let n = 0; n < 10_000; n++) await call(from.integer(0, 40), from.integer(0, 40))
    expect(reach()).toEqual(before)
  })

  test("with results of several calls alive, and a cache that each call takes over", async () => {
    const { backend, reach } = open()
    const f = await Effect.runPromise(backend.compile(planOf(graphOf(double))))
    const g = await Effect.runPromise(backend.compile(cacheUpdate("f32", true).plan))
    const from = arrays.random(2)
    const reached: Array<ReadonlyArray<number>> = []
    const loop = Effect.gen(function* () {
      let cache = yield* backend.upload({ ...ones(0, 0), shape: [1, 64, 3], data: new Float32Array(192) })
      const start = (n: number) => ({ dtype: "i32", shape: [1], data: Int32Array.of(n % 64) }) as const
      for (let n = 0; n < 2500; n++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            for (const _ of [1, 2, 3]) {
              const [T, S] = [from.integer(0, 30), from.integer(0, 30)]
              yield* f.run([ones(T, S)], { T, S }, none)
            }
          })
        )
        const row = { ...ones(0, 0), shape: [1, 1, 3], data: Float32Array.of(n, n, n) }
        const sizes = { B: 1, C: 64, T: 1 }
        const [next] = yield* g.run([cache, row, start(n)], sizes, { donated: new Set([0]) })
        cache = next as DeviceArray
        if (n % 250 === 249) reached.push(reach())
      }
      return yield* backend.download(cache)
    })
    const last = await Effect.runPromise(Effect.scoped(loop))
    expect([...last.data].filter((_, i) => i % 3 === 0)).toEqual(
      Array.from({ length: 64 }, (_, i) => (i < 4 ? 2496 : 2432) + i)
    )
    expect(new Set(reached.slice(1).map(String)).size).toBe(1)
  })
})

test("what a call needs of its own lies in one piece, part beside part", () => {
  const T = Dim.symbol("T")
  const program: Program.Program = {
    ...{ symbols: ["T"], module: { imports: [], functions: [] }, constants: [], outputs: [] },
    inputs: ["a", "b"].map((name) => ({ name, type: TensorType.make("f32", [T, Dim.constant(3)]) })),
    slots: [T, Dim.mul(T, T), Dim.constant(1e9)].map((bytes) => ({ bytes })),
    kernels: [100, 500].map((bytes) => ({
      ...{ name: "k", func: { name: "k", exported: true, params: [], body: [] } },
      ...{ items: { times: T, of: T, per: 1 }, local: Dim.constant(bytes) }
    })),
    steps: [0, 1].map((n) => ({
      ...{ kernel: n, work: [] },
      buffers: [0, n].map((index) => ({ _tag: "slot" as const, index }))
    }))
  }
  const { bytes, ...at } = layout(program, program.steps, [1], { T: 30 }, 3)
  const parts = [
    [at.inputs.get(1), 360],
    // Large values are placed first.
    [at.slots.get(1), 900],
    [at.slots.get(0), 30],
    ...[0, 1, 2].map((n) => [at.local + n * at.localStride, 500]),
    // Two steps of three threads: memory of their own, a length, two buffers.
    [at.args, 2 * 3 * 16]
  ] as ReadonlyArray<readonly [from: number, bytes: number]>
  expect([at.inputs.size, at.slots.size, at.argsStride]).toEqual([1, 2, 16])
  for (const [i, [from, length]] of parts.entries()) {
    expect(from % 64).toBe(0)
    expect(from + length + 64).toBeLessThanOrEqual(parts[i + 1]?.[0] ?? bytes)
  }
  expect(bytes).toBeLessThan(6000)
})

test.each([2 ** 31 - 20_032, 2 ** 31 + 64])(
  "addresses of %i and more are as good as others, on two threads",
  async (start) => {
    const graph = graphOf(`
%q: f32[1, 2, T, 16] = input {name = "q"}
%w: f32[16, 24] = input {name = "w"}
%a: f32[1, 2, T, 16] = ${plainAttention("%q, %q, %q")}
%n: f32[1, 2, T, 16] = softmax %a {axis = 3}
%y: f32[1, 2, T, 24] = dot %n, %w {lhsBatch = [], rhsBatch = [], lhsContract = [3], rhsContract = [0]}
%s: f32[1, 2, 24] = reduce_sum %y {axes = [2]}
return "rows": %y, "sum": %s`)
    const results = (from: number) => {
      const session = Session.make({ threads: 2 }, 1)
      const rest = 64 + 64
      if (from > rest) session.heap.allocate(from - rest, () => "what lies before")
      const backend = WasmBackend.of(session)
      const run = Effect.gen(function* () {
        const f = yield* backend.compile(planOf(graph))
        return yield* Effect.forEach([1, 5, 70], (T) => {
          const numbers = arrays.random(T)
          const q = arrays.array(numbers, "f32", [1, 2, T, 16], "uniform")
          return f.call([q, arrays.array(numbers, "f32", [16, 24], "uniform")], { T }, none)
        })
      })
      return Effect.runPromise(run).finally(session.pool.close)
    }
    expect(await results(start)).toEqual(await results(0))
  }
)

test("memory grows under arrays that are there already, and they stay what they were", () =>
  withWasm((backend) =>
    Effect.gen(function* () {
      const f = yield* backend.compile(planOf(graphOf(double)))
      const ones = yield* backend.upload(HostArray.fromNumbers("f32", [2, 2], Float64Array.of(1, 2, 3, 4)))
      const big = { dtype: "f32", shape: [1000, 1000], data: new Float32Array(1_000_000).fill(7) } as const
      const [y] = yield* f.call([big], { T: 1000, S: 1000 }, none)
      expect(y?.data.every((v) => v === 14)).toBe(true)
      expect([...(yield* backend.download(ones)).data]).toEqual([1, 2, 3, 4])
    })
  ))
