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
import { encode } from "../../../backends/wasm/assembler/encode.ts"
import { get, i32, type Local, load, op, store } from "../../../backends/wasm/assembler/Instruction.ts"
import { type Engine, engine } from "../../../backends/wasm/runtime/engine.ts"
import * as Host from "../../../backends/wasm/runtime/threads/Host.ts"
import * as Pool from "../../../backends/wasm/runtime/threads/Pool.ts"
import { range } from "../../../backends/wasm/runtime/threads/words.ts"
import * as Attention from "../../../src/Attention.ts"
import { compile } from "../../../src/compile.ts"
import { spec } from "../../../src/spec.ts"
import * as Wasm from "../../../src/Wasm.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { planOf } from "../../support/onWasm.ts"

/** The module as `process.getBuiltinModule` gives it: what is written to it is seen by whoever asks. */
const builtin = process.getBuiltinModule("node:worker_threads") as { Worker: typeof workerThreads.Worker }
const Stock = builtin.Worker

afterEach(() => {
  builtin.Worker = Stock
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

/** The workers that are started from here on. */
const recorded = (): ReadonlyArray<workerThreads.Worker> => {
  const made: Array<workerThreads.Worker> = []
  builtin.Worker = class extends Stock {
    constructor(...args: ConstructorParameters<typeof Stock>) {
      super(...args)
      made.push(this)
    }
  }
  return made
}

const onWasm = <A, E>(
  threads: number,
  run: (backend: BackendShape) => Effect.Effect<A, E, Scope.Scope | Backend>
): Promise<A> =>
  Effect.runPromise(
    Effect.scoped(Effect.provide(Effect.flatMap(Backend, run), Wasm.layerWith({ threads }))) as Effect.Effect<
      A,
      E
    >
  )

const attention = compile(({ q, k, v }) => Attention.scaledDotProductAttention(q, k, v, { mask: "causal" }), {
  q: spec("f32", [1, 4, "T", 32]),
  k: spec("f32", [1, 2, "T", 32]),
  v: spec("f32", [1, 2, "T", 32])
})

const inputsOf = (T: number) => {
  const from = arrays.random(T)
  const make = (heads: number) => arrays.array(from, "f32", [1, heads, T, 32])
  return { q: make(4), k: make(2), v: make(2) }
}

test("causal attention has the same bits on any number of threads", async () => {
  const lengths = [1, 130, 515]
  const on = (threads: number) =>
    onWasm(threads, () =>
      Effect.gen(function* () {
        const f = yield* attention
        return yield* Effect.forEach(lengths, (T) => f(inputsOf(T)))
      })
    )
  const [one, ...others] = await Promise.all([1, 2, 3, 8].map(on))
  for (const other of others) expect(other).toEqual(one)
})

describe("threads are started by the first kernel that is worth it", () => {
  test("and not by a small one", async () => {
    const workers = recorded()
    await onWasm(3, () =>
      Effect.gen(function* () {
        const f = yield* attention
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
    await onWasm(2, () => Effect.flatMap(attention, (f) => f(inputsOf(300))))
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
         const out = await f({ q: { dtype: "f32", shape: [1, 2, 400, 32], data } })
         console.log(engine.description, out.data[5])`
      )
      const printed = execFileSync(process.execPath, [pathToFileURL(file).pathname], {
        encoding: "utf8",
        timeout: 15_000
      })
      expect(printed).toMatch(/^WebAssembly, .*, 3 threads 1\n$/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe("chunks", () => {
  test("are one for little work, several for each thread otherwise, and cover the items once", () => {
    const of = (work: number, items: number, threads: number) =>
      Pool.chunksOf(work, items, threads, Pool.leastWork)
    expect([of(2 ** 18, 100, 4), of(0, 0, 2), of(2 ** 30, 1, 8)]).toEqual([1, 1, 1])
    expect([of(2 ** 19, 100, 4), of(2 ** 28, 100, 2), of(2 ** 28, 100, 8)]).toEqual([2, 32, 100])
    expect(of(2 ** 60, 2 ** 30, 1)).toBe(1023)
    for (const [items, chunks] of [
      [7, 3],
      [1023, 1023],
      [2 ** 31 - 1, 1000]
    ] as const) {
      let next = 0
      for (let at = 0; at < chunks; at++) {
        const [begin, end] = range(items, chunks, at)
        expect(begin).toBe(next)
        expect(end).toBeGreaterThan(begin)
        next = end
      }
      expect(next).toBe(items)
    }
  })
})

/**
 * A kernel (args: where to write, a divisor, a gate) that writes 1 to its item's word, waits until the gate is not 0, and writes one by the
 * divisor. Words 256 and 257 are those of its two items.
 */
const handmade = async () => {
  const host = engine() as Engine
  const params = (["args", "begin", "end"] as const).map((name): Local<"i32"> => ({ type: "i32", name }))
  const [args, begin] = params.map(get) as [ReturnType<typeof get<"i32">>, ReturnType<typeof get<"i32">>]
  const to = op("i32.add", load("i32.load", args), op("i32.shl", begin, i32(2)))
  const shut = op("i32.eqz", load("i32.load", args, 8))
  const again = { name: "again" }
  const body = [
    store("i32.store", to, i32(1)),
    { _tag: "loop", label: again, body: [{ _tag: "branch", label: again, condition: shut }] },
    store("i32.store", to, op("i32.div_u", i32(1), load("i32.load", args, 4)))
  ] as const
  const f = { name: "f", exported: true, params, body }
  const module = await host.compile(encode({ imports: [], functions: [f] }, { shared: true }))
  const memory = new host.Memory({ initial: 1, maximum: 1, shared: true })
  return { module, memory, words: new Int32Array(memory.buffer) }
}

/**
 * Two chunks and two threads, each of which gets one: this thread's ends when the other has begun its own, and then opens the gate that the
 * other waits at, unless it is to stay shut.
 */
const pair = async () => {
  const { module, memory, words } = await handmade()
  let opens = true
  const mine = (_: number, begin: number): void => {
    while (Atomics.load(words, 257 - begin) === 0);
    words[256 + begin] = 2
    if (opens) Atomics.store(words, 82, 1)
  }
  const pool = Pool.make(Host.find() as Host.Host, memory, 2)
  const signal = { cancelled: false }
  const program = { module, names: ["f"], kernels: [mine] }
  const take = () => pool.take(program)
  const run = (options: { readonly divisor?: number; readonly open?: boolean } = {}) => {
    opens = options.open ?? true
    words.set([1024, options.divisor ?? 1, 0], 80)
    words.fill(0, 256, 258)
    const team = take()
    return { team, run: team.run({ kernel: 0, args: 256, stride: 64, items: 2, chunks: 2 }, signal) }
  }
  const results = () => [...words.subarray(256, 258)].sort()
  return { pool, words, signal, take, run, results }
}

const turns = () => new Promise((done) => setTimeout(done, 1))

/** Runs to the end: what it throws. */
const finish = async (run: Generator<void, void>): Promise<unknown> => {
  try {
    while (run.next().done !== true) await turns()
    return undefined
  } catch (cause) {
    return cause
  }
}

describe("a job of two threads", () => {
  test("is run by both, while others go alone", async () => {
    const { pool, take, run, results } = await pair()
    const first = run()
    expect(take().threads).toBe(1)
    expect(await finish(first.run)).toBe(undefined)
    expect(results()).toEqual([1, 2])
    first.team.leave()
    expect(take().threads).toBe(2)
    pool.close()
  })

  test("throws what the other thread threw, which then goes on", async () => {
    const { pool, run, results } = await pair()
    const first = run({ divisor: 0 })
    expect(String(await finish(first.run))).toBe("Error: divide by zero")
    first.team.leave()
    const second = run()
    expect(await finish(second.run)).toBe(undefined)
    expect(results()).toEqual([1, 2])
    pool.close()
  })

  test("that is told to stop does so when the other thread has left the memory", async () => {
    const { pool, words, signal, run, results } = await pair()
    const { run: steps } = run({ open: false })
    expect(steps.next().done).toBe(false)
    signal.cancelled = true
    expect(steps.next().done).toBe(false)
    words[82] = 1
    expect(await finish(steps)).toBeInstanceOf(Pool.Cancelled)
    expect(results()).toEqual([1, 2])
    pool.close()
  })

  test("whose other thread dies ends in an error, and the next has others", async () => {
    const workers = recorded()
    const { pool, run, results } = await pair()
    const first = run({ open: false })
    expect(first.run.next().done).toBe(false)
    void workers[0]?.terminate()
    const lost = await finish(first.run)
    expect(lost).toMatchObject({ _tag: "DeviceLost", message: expect.stringContaining("exit code 1") })
    first.team.leave()
    const second = run()
    expect(await finish(second.run)).toBe(undefined)
    expect([results(), workers.length]).toEqual([[1, 2], 2])
    pool.close()
  })
})

test("a thread that dies between two jobs is replaced", async () => {
  const workers = recorded()
  const { pool, run, results } = await pair()
  const first = run()
  expect(await finish(first.run)).toBe(undefined)
  first.team.leave()
  await workers[0]?.terminate()
  expect(await finish(run().run)).toBe(undefined)
  expect([results(), workers.length, pool.threads()]).toEqual([[1, 2], 2, 2])
  pool.close()
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
    onWasm(threads, (backend) =>
      Effect.gen(function* () {
        const f = yield* backend.compile(doubled)
        const alive = backend.buffersAlive()
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
    onWasm(threads, (backend) =>
      Effect.gen(function* () {
        const f = yield* backend.compile(doubled)
        const alive = backend.buffersAlive()
        const none = { donated: new Set<number>() }
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
    builtin.Worker = class extends Stock {
      constructor() {
        super("", { eval: true })
        void this.terminate()
        throw new Error("no workers allowed")
      }
    }
    await onWasm(2, (backend) =>
      Effect.gen(function* () {
        expect(backend.description).toMatch(/2 threads$/)
        yield* doubles(backend)
        expect(backend.description).toMatch(/one thread \(no workers allowed\)$/)
        yield* doubles(backend)
      })
    )
  })

  test("because their script is refused after the fact", async () => {
    const workers: Array<workerThreads.Worker> = []
    builtin.Worker = class extends Stock {
      constructor(_: string | URL, options?: workerThreads.WorkerOptions) {
        super("throw new Error('the script is refused')", options)
        workers.push(this)
      }
    }
    await onWasm(2, (backend) =>
      Effect.gen(function* () {
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
