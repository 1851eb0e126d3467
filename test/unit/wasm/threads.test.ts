/** Threads of the WebAssembly backend: started late, alike in bits, and what happens when they trap, die, or never start. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import type * as workerThreads from "node:worker_threads"
import { Effect, Exit, Fiber, type Scope } from "effect"
import { afterEach, describe, expect, test, vi } from "vitest"
import { Backend, type BackendShape } from "../../../backends/Backend.ts"
import * as Host from "../../../backends/wasm/runtime/threads/Host.ts"
import * as Attention from "../../../src/Attention.ts"
import { compile } from "../../../src/compile.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import * as Wasm from "../../../src/Wasm.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { withWasm } from "../../support/onWasm.ts"
import { planOf } from "../../support/plans.ts"
import { builtin, recorded, restoreWorkers, StockWorker } from "../../support/workers.ts"

afterEach(() => {
  restoreWorkers()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

const onThreads = <A, E>(
  threads: number,
  run: (backend: BackendShape) => Effect.Effect<A, E, Scope.Scope | Backend>
): Promise<A> => withWasm(run, { threads })

const attention = compile(({ q, k, v }) => Attention.scaledDotProductAttention(q, k, v, { mask: "causal" }), {
  q: spec("f32", [1, 4, "T", 32]),
  k: spec("f32", [1, 2, "T", 32]),
  v: spec("f32", [1, 2, "T", 32])
})

const product = compile(({ x, w }) => Tensor.matmul(x, w), {
  x: spec("f32", ["M", 300]),
  w: spec("f32", [300, 700])
})

const along = compile(({ x, w }) => Tensor.matmul(x, Tensor.transpose(w)), {
  x: spec("f32", ["M", 300]),
  w: spec("f32", [1300, 300])
})

const doubles = compile(
  ({ q, k, v, w }) => {
    const out = Attention.scaledDotProductAttention(q, k, v, { mask: "causal", accumulate: "f64" })
    return { out, product: Tensor.matmul(Tensor.cast(out, "f64"), Tensor.cast(w, "f64")) }
  },
  {
    q: spec("f32", [1, 4, "T", 32]),
    k: spec("f32", [1, 2, "S", 32]),
    v: spec("f32", [1, 2, "S", 32]),
    w: spec("f32", [32, 70])
  }
)

const inputsOf = (T: number) => {
  const from = arrays.random(T)
  const make = (heads: number) => arrays.array(from, "f32", [1, heads, T, 32])
  return { q: make(4), k: make(2), v: make(2) }
}

test.each([true, false])("the same bits on any number of threads, vectors %s", async (simd) => {
  const lengths = [1, 130, 515]
  const on = (threads: number) =>
    Effect.gen(function* () {
      const f = yield* attention
      const g = yield* product
      const h = yield* along
      const attended = yield* Effect.forEach(lengths, (T) => f(inputsOf(T)))
      const from = arrays.random(5)
      const w = arrays.array(from, "f32", [300, 700])
      const products = yield* Effect.forEach([1, 2, 20], (M) =>
        g({ x: arrays.array(from, "f32", [M, 300]), w })
      )
      const rows = arrays.array(from, "f32", [1300, 300])
      const streams = yield* Effect.forEach([1, 2, 7], (M) =>
        h({ x: arrays.array(from, "f32", [M, 300]), w: rows })
      )
      const f64 = yield* doubles
      const k = arrays.array(from, "f32", [1, 2, 400, 32])
      const exact = yield* Effect.forEach([1, 90], (T) =>
        f64({
          q: arrays.array(from, "f32", [1, 4, T, 32]),
          k,
          v: k,
          w: arrays.array(from, "f32", [32, 70])
        })
      )
      return [attended, products, streams, exact]
    }).pipe(Effect.provide(Wasm.layerWith({ threads, simd })), Effect.runPromise)
  const [one, ...others] = await Promise.all([1, 2, 3, 8].map(on))
  for (const other of others) expect(other).toEqual(one)
})

describe("threads are started by the second call that is worth it", () => {
  test("and not by a small one", async () => {
    const workers = recorded()
    await onThreads(3, () =>
      Effect.gen(function* () {
        const f = yield* attention
        yield* f(inputsOf(3))
        expect(workers.length).toBe(0)
        yield* f(inputsOf(300))
        expect(workers.length).toBe(0)
        yield* f(inputsOf(3))
        expect(workers.length).toBe(0)
        yield* f(inputsOf(300))
        expect(workers.length).toBe(2)
        yield* f(inputsOf(301))
        expect(workers.length).toBe(2)
      })
    )
  })

  test("and the scope of the backend ends them", async () => {
    const workers = recorded()
    await onThreads(2, () =>
      Effect.flatMap(attention, (f) => Effect.andThen(f(inputsOf(300)), f(inputsOf(300))))
    )
    const [worker] = workers
    await new Promise((done) => worker?.once("exit", done))
    expect(worker?.threadId).toBe(-1)
  })

  test("and they keep no process alive", () => {
    const folder = mkdtempSync(join(tmpdir(), "effuse-threads-"))
    try {
      const file = join(folder, "main.mjs")
      const from = (path: string) => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href)
      writeFileSync(
        file,
        `import * as Attention from ${from("src/Attention.ts")}
         import { wasm } from ${from("src/promise.ts")}
         import { spec } from ${from("src/spec.ts")}
         const s = spec("f32", [1, 2, "T", 32])
         const engine = await wasm({ threads: 3 })
         const f = await engine.compile(({ q }) => Attention.scaledDotProductAttention(q, q, q), { q: s })
         const data = new Float32Array(2 * 400 * 32).fill(1)
         await f({ q: { dtype: "f32", shape: [1, 2, 400, 32], data } })
         const out = await f({ q: { dtype: "f32", shape: [1, 2, 400, 32], data } })
         console.log(engine.description, out.data[5])`
      )
      const printed = execFileSync(process.execPath, [pathToFileURL(file).pathname], {
        encoding: "utf8",
        timeout: 45_000
      })
      expect(printed).toMatch(/^WebAssembly, .*, 3 threads 1\n$/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

const doubled = planOf(graphOf('%x: f32[N] = input {name = "x"}\n%y: f32[N] = add %x, %x\nreturn %y'))

/** Every look at the clock is late: calls yield after each chunk. */
const hurry = () => {
  let now = 0
  vi.spyOn(performance, "now").mockImplementation(() => (now += 1000))
}

describe.each([1, 2])("a call that gives way, on %i threads", (threads) => {
  const N = 2 ** 20
  const ones = { dtype: "f32", shape: [N], data: new Float32Array(N).fill(1) } as const

  test("is interrupted between two chunks, and leaves nothing", () =>
    onThreads(threads, (backend) =>
      Effect.gen(function* () {
        const f = yield* backend.compile(doubled)
        const alive = backend.buffersAlive()
        // Threads come with the second call.
        yield* f.call([ones], { N }, { donated: new Set<number>() })
        const x = yield* backend.upload(ones)
        hurry()
        const call = yield* Effect.forkChild(Effect.scoped(f.run([x], { N }, { donated: new Set([0]) })), {
          startImmediately: true
        })
        expect(backend.buffersAlive()).toBeGreaterThan(alive + 1)
        yield* Fiber.interrupt(call)
        expect(Exit.hasInterrupts(yield* Fiber.await(call))).toBe(true)
        expect(backend.buffersAlive()).toBe(alive)
        const gone = yield* Effect.flip(backend.download(x))
        expect(gone._tag).toBe("InvalidArray")
        const [y] = yield* f.call([ones], { N }, { donated: new Set<number>() })
        expect(y?.data.every((v) => v === 2)).toBe(true)
      })
    ))

  test("keeps the arrays that it reads though they are freed, and shares nothing with another", () =>
    onThreads(threads, (backend) =>
      Effect.gen(function* () {
        const f = yield* backend.compile(doubled)
        const alive = backend.buffersAlive()
        const none = { donated: new Set<number>() }
        yield* f.call([ones], { N }, none)
        const x = yield* backend.upload(ones)
        hurry()
        const call = yield* Effect.forkChild(f.call([x], { N }, none), { startImmediately: true })
        const taken = yield* Effect.flip(f.call([x], { N }, { donated: new Set([0]) }))
        expect(taken.message).toContain("another call reads it")
        yield* backend.free(x)
        const threes = { ...ones, data: new Float32Array(N).fill(3) }
        const [six] = yield* f.call([threes], { N }, none)
        const [two] = yield* Fiber.join(call)
        expect(six?.data.every((v) => v === 6)).toBe(true)
        expect(two?.data.every((v) => v === 2)).toBe(true)
        expect(backend.buffersAlive()).toBe(alive)
      })
    ))
})

describe("where threads cannot be", () => {
  const doubles = (backend: BackendShape) =>
    Effect.gen(function* () {
      const N = 2 ** 17
      const f = yield* backend.compile(doubled)
      const x = { dtype: "f32", shape: [N], data: new Float32Array(N).fill(1) } as const
      const [y] = yield* f.call([x], { N }, { donated: new Set<number>() })
      expect(y?.data.every((v) => v === 2)).toBe(true)
    })

  test("calls run on one, and the backend says why", async () => {
    builtin.Worker = class extends StockWorker {
      constructor() {
        super("", { eval: true })
        void this.terminate()
        throw new Error("no workers allowed")
      }
    }
    await onThreads(2, (backend) =>
      Effect.gen(function* () {
        expect(backend.description).toMatch(/2 threads$/)
        yield* doubles(backend)
        expect(backend.description).toMatch(/2 threads$/)
        yield* doubles(backend)
        expect(backend.description).toMatch(/one thread \(no workers allowed\)$/)
        yield* doubles(backend)
      })
    )
  })

  test("because their script is refused after the fact", async () => {
    const workers: Array<workerThreads.Worker> = []
    builtin.Worker = class extends StockWorker {
      constructor(_: string | URL, options?: workerThreads.WorkerOptions) {
        super("throw new Error('the script is refused')", options)
        workers.push(this)
      }
    }
    await onThreads(2, (backend) =>
      Effect.gen(function* () {
        yield* doubles(backend)
        yield* doubles(backend)
        yield* Effect.promise(() => new Promise((done) => workers[0]?.once("exit", done)))
        yield* doubles(backend)
        expect(backend.description).toMatch(/one thread \(the script is refused\)$/)
        expect(workers.length).toBe(1)
      })
    )
  })

  test("in a page that is not isolated", () => {
    vi.stubGlobal("SharedArrayBuffer", undefined)
    vi.stubGlobal("crossOriginIsolated", false)
    expect(Host.find()).toBe("the page is not cross-origin isolated")
  })
})

test.each([0, -1, 1.5, Number.NaN])("%s threads are refused by name", async (threads) => {
  const opened = Effect.runPromise(Effect.provide(Backend, Wasm.layerWith({ threads })))
  await expect(opened).rejects.toThrow(`cannot run on ${threads} threads`)
})
