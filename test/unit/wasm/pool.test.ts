/** The pool of threads by itself: how work is cut, and jobs that trap, are told to stop, or lose a thread. */
import { afterEach, describe, expect, test, vi } from "vitest"
import { encode } from "../../../backends/wasm/assembler/encode.ts"
import { get, i32, type Local, load, op, store } from "../../../backends/wasm/assembler/Instruction.ts"
import { type CompiledModule, type Engine, engine } from "../../../backends/wasm/runtime/engine.ts"
import * as Host from "../../../backends/wasm/runtime/threads/Host.ts"
import * as Pool from "../../../backends/wasm/runtime/threads/Pool.ts"
import { from, fromLarge, words as w } from "../../../backends/wasm/runtime/threads/words.ts"
import { recorded, restoreWorkers } from "../../support/workers.ts"

afterEach(restoreWorkers)

test("a first call that is long has threads", () => {
  const starts = vi.fn(() => ({ post: () => {}, end: () => {} }))
  const memory = { buffer: new ArrayBuffer(0), grow: () => 0 }
  const pool = Pool.make({ cores: 2, start: starts }, memory, 3)
  const program = { module: {} as CompiledModule, names: [], kernels: [] }
  expect(pool.take(program, Pool.mostWork).threads).toBe(3)
  expect(starts).toHaveBeenCalledTimes(2)
})

test("a thread serves as soon as it has its messages, however fast they come", () => {
  const left: Array<number> = []
  let words: Int32Array = new Int32Array()
  const start = () => {
    let seen = 0
    const post = (message: unknown): void => {
      const { words: shared } = message as { readonly words?: SharedArrayBuffer }
      if (shared !== undefined) words = new Int32Array(shared)
      left.push(Atomics.load(words, w.mail) - ++seen)
    }
    return { post, end: () => {} }
  }
  const pool = Pool.make({ cores: 3, start }, { buffer: new ArrayBuffer(0), grow: () => 0 }, 3)
  pool.take({ module: {} as CompiledModule, names: [], kernels: [] }, Pool.mostWork)
  expect(left).toEqual([0, 0, 0, 0])
})

describe("chunks", () => {
  test("are one for little work, several for each thread otherwise, and cover the items once", () => {
    const of = (work: number, items: number, threads: number) =>
      Pool.chunksOf(work, items, threads, Pool.leastWork)
    expect([of(2 ** 17, 100, 4), of(0, 0, 2), of(2 ** 30, 1, 8)]).toEqual([1, 1, 1])
    expect([of(2 ** 18, 100, 4), of(2 ** 28, 100, 2), of(2 ** 28, 100, 8)]).toEqual([2, 32, 100])
    // As many for each thread, but where a piece is one item.
    expect([of(9 * 2 ** 17, 16, 2), of(9 * 2 ** 17, 9, 2)]).toEqual([8, 9])
    expect(of(2 ** 60, 2 ** 30, 1)).toBe(1023)
    for (const [items, chunks] of [
      [7, 3],
      [1023, 1023],
      [2 ** 31 - 1, 1000]
    ] as const) {
      let next = 0
      for (let at = 0; at < chunks; at++) {
        const [begin, end] = [from(items, chunks, at), from(items, chunks, at + 1)]
        expect(begin).toBe(next)
        expect(end).toBeGreaterThan(begin)
        next = end
      }
      expect(next).toBe(items)
    }
  })

  test("of streams begin with a large one for each thread, and cover the items once", () => {
    const of = (work: number, items: number, threads: number) =>
      Pool.streamsOf(work, items, threads, Pool.leastWork)
    expect(of(2 ** 24, 43, 2)).toEqual({ chunks: 10, large: 16 })
    expect(of(2 ** 24, 8, 2)).toEqual({ chunks: 4, large: 3 })
    // Nothing to share, nothing to be large, or so long that the event loop should have turns.
    expect(of(2 ** 17, 43, 2)).toEqual({ chunks: 1, large: 0 })
    expect(of(2 ** 24, 16, 8)).toEqual({ chunks: 16, large: 0 })
    expect(of(2 ** 31, 43, 2)).toEqual({ chunks: 32, large: 0 })
    for (const [work, items, threads] of [
      [2 ** 24, 43, 2],
      [2 ** 24, 8, 2],
      [2 ** 30, 2 ** 31 - 1, 64]
    ] as const) {
      const { chunks, large } = of(work, items, threads)
      const begins = Array.from({ length: chunks + 1 }, (_, at) =>
        fromLarge(items, chunks, large, threads, at)
      )
      expect([begins[0], begins[1], begins[chunks]]).toEqual([0, large, items])
      for (let at = 0; at < chunks; at++) expect(begins[at + 1]).toBeGreaterThan(begins[at] as number)
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
  const take = () => pool.take(program, Pool.mostWork)
  const run = (options: { readonly divisor?: number; readonly open?: boolean } = {}) => {
    opens = options.open ?? true
    words.set([1024, options.divisor ?? 1, 0], 80)
    words.fill(0, 256, 258)
    const team = take()
    const jobs = [{ kernel: 0, items: 2, chunks: 2, large: 0 }]
    return { team, run: team.run({ jobs, args: 256, stride: 64 }, signal) }
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

  test("that is running when the backend is closed says so", async () => {
    const { pool, run } = await pair()
    const first = run({ open: false })
    expect(first.run.next().done).toBe(false)
    pool.close()
    expect(await finish(first.run)).toMatchObject({
      _tag: "DeviceLost",
      message: expect.stringContaining("the WebAssembly backend was closed while the kernel f ran"),
      hint: expect.stringContaining("open until its calls have ended")
    })
  })

  test("whose other thread dies ends in an error, and the next has others", async () => {
    const workers = recorded()
    const { pool, run, results } = await pair()
    const first = run({ open: false })
    expect(first.run.next().done).toBe(false)
    void workers[0]?.terminate()
    const lost = await finish(first.run)
    expect(lost).toMatchObject({
      _tag: "DeviceLost",
      message: expect.stringContaining("ended while the kernel f ran: it was terminated, with exit code 1"),
      hint: expect.stringContaining("the next call starts new threads")
    })
    first.team.leave()
    const second = run()
    expect(await finish(second.run)).toBe(undefined)
    expect([results(), workers.length]).toEqual([[1, 2], 2])
    pool.close()
  })
})

test("a job of which a thread that dies had taken nothing is done by the others", () => {
  // Each look at the clock finds that others of the event loop should have a turn.
  let time = 0
  const clock = vi.spyOn(performance, "now").mockImplementation(() => {
    time += 100
    return time
  })
  const lost: Array<(why: string) => void> = []
  const start = (_: string, gone: (why: string) => void) => {
    lost.push(gone)
    return { post: () => {}, end: () => {} }
  }
  const done: Array<number> = []
  const kernel = (_: number, begin: number): void => {
    done.push(begin)
  }
  const pool = Pool.make({ cores: 2, start }, { buffer: new ArrayBuffer(0), grow: () => 0 }, 2)
  const program = { module: {} as CompiledModule, names: ["f"], kernels: [kernel] }
  const jobs = [{ kernel: 0, items: 4, chunks: 4, large: 0 }]
  const run = pool.take(program, Pool.mostWork).run({ jobs, args: 0, stride: 64 }, { cancelled: false })
  expect(run.next().done).toBe(false)
  lost[0]?.("it was terminated")
  while (run.next().done !== true);
  expect(done).toEqual([3, 2, 1, 0])
  clock.mockRestore()
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
