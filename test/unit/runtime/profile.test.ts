import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as Stopwatch from "../../../backends/stopwatch.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as Profile from "../../../src/Profile.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { download, upload } from "../../../src/transfer.ts"
import * as Wasm from "../../../src/Wasm.ts"

/** A call of three kernels of which two are the same, that take `a`, `b` and `a` nanoseconds. */
const profile = (a: number, b: number, changes: Partial<Profile.Profile> = {}): Profile.Profile => ({
  clock: "device",
  resolution: 1,
  kernels: [
    { name: "matmul", kernel: 4, workgroups: 2, begin: 0, end: a },
    { name: "softmax", kernel: 1, workgroups: 8, begin: a, end: a + b },
    { name: "matmul", kernel: 4, workgroups: 2, begin: a + b, end: 2 * a + b }
  ],
  host: { encode: 5_000, wait: 1_000_000 },
  ...changes
})

describe("profiles", () => {
  test("sum up to the mean of each kernel and its share, the longest first", () => {
    expect(Profile.byKernel([profile(1_000, 4_000), profile(3_000, 0)])).toEqual([
      { name: "matmul", kernel: 4, dispatches: 2, time: 4_000, share: 2 / 3 },
      { name: "softmax", kernel: 1, dispatches: 1, time: 2_000, share: 1 / 3 }
    ])
    // A clock that is too coarse for all of them.
    expect(Profile.byKernel([profile(0, 0)]).map(({ kernel, share }) => [kernel, share])).toEqual([
      [1, 0],
      [4, 0]
    ])
    expect(Profile.byKernel([])).toEqual([])
  })

  test("say what their clock cannot tell", () => {
    expect(Profile.caveat(profile(1, 1))).toBeUndefined()
    expect(Profile.caveat(profile(1, 1, { resolution: 100_000 }))).toContain("100 µs")
    expect(Profile.caveat(profile(1, 1, { clock: "host", resolution: 1e6 }))).toContain("no timestamps")
    expect(Profile.caveat(profile(1, 1, { clock: "thread", resolution: 5_000 }))).toContain("5 µs")
  })

  test("are traces: complete events in microseconds, kernels inside what the host waited for, calls apart", () => {
    const { traceEvents } = JSON.parse(Profile.trace([profile(2_000, 1_000), profile(2_000, 1_000)], "mine"))
    const spans = traceEvents.filter((e: { ph: string }) => e.ph === "X")
    const call = ["encode", "wait", "matmul", "softmax", "matmul"]
    expect(spans.map((e: { name: string }) => e.name)).toEqual([...call, ...call])
    const of = (call: number, name: string) =>
      spans.filter((e: { name: string; args: { call: number } }) => e.name === name && e.args.call === call)
    expect(of(0, "matmul").map((e: { ts: number; dur: number }) => [e.ts, e.dur])).toEqual([
      [6, 2],
      [9, 2]
    ])
    const [encode, wait, next] = [of(0, "encode")[0], of(0, "wait")[0], of(1, "encode")[0]]
    expect([encode.ts, encode.dur, wait.ts, wait.dur, next.ts]).toEqual([1, 5, 6, 1_000, 1_006])
    expect(of(1, "softmax")[0].args).toMatchObject({ kernel: 1, workgroups: 8, clock: "device" })
    const rows = traceEvents.filter((e: { ph: string }) => e.ph === "M")
    expect(rows.map((e: { args: { name: string } }) => e.args.name)).toEqual(["mine", "host", "kernels"])
    // Kernels in one row, the host in another, of one process.
    expect(new Set(spans.map((e: { pid: number }) => e.pid)).size).toBe(1)
    expect(of(0, "wait")[0].tid).not.toBe(of(0, "matmul")[0].tid)
  })
})

/** What the Trace Event Format asks of an event: the fields of all, and those of its phase. */
interface TraceEvent {
  readonly name: string
  readonly cat: string
  readonly ph: string
  readonly pid: number
  readonly tid: number
  readonly ts: number
  readonly dur?: number
  readonly args: { readonly [name: string]: unknown }
}

describe("trace files", () => {
  /** Profiles of kernels that follow each other at once, at times of all lengths. */
  const long = (seed: number): Profile.Profile => {
    let [end, x] = [0, seed]
    const kernels = Array.from({ length: 200 }, (_, kernel) => {
      const begin = end
      x = (x * 48_271) % 2_147_483_647
      end += x % 1_000_003
      return { name: `kernel ${kernel}`, kernel, workgroups: 1, begin, end }
    })
    return profile(0, 0, { kernels, host: { encode: 12_345.678, wait: end + 0.1 } })
  }
  const trace = JSON.parse(Profile.trace([long(1), long(2), profile(1, 0), profile(0, 0, { kernels: [] })]))
  const events: ReadonlyArray<TraceEvent> = trace.traceEvents
  const spans = events.filter(({ ph }) => ph === "X")

  test("are an object with the events; each has the fields that all need, of their types", () => {
    expect(Object.keys(trace).sort()).toEqual(["displayTimeUnit", "traceEvents"])
    expect(["ms", "ns"]).toContain(trace.displayTimeUnit)
    for (const event of events) {
      const { name, cat, ph, pid, tid, ts, args } = event
      expect([typeof name, typeof cat, typeof args]).toEqual(["string", "string", "object"])
      expect([ph === "X" || ph === "M", Number.isInteger(pid), Number.isInteger(tid)]).toEqual([
        true,
        true,
        true
      ])
      expect(Number.isFinite(ts)).toBe(true)
      const fields = ["name", "cat", "ph", "pid", "tid", "ts", "args", ...(ph === "X" ? ["dur"] : [])]
      expect(Object.keys(event).sort()).toEqual(fields.sort())
    }
  })

  test("name their process and each of its rows, once, before anything else", () => {
    const [first, ...rest] = events.filter(({ ph }) => ph === "M")
    expect(first).toMatchObject({ name: "process_name", cat: "__metadata", args: { name: "effuse" } })
    expect(rest.map(({ name }) => name)).toEqual(["thread_name", "thread_name"])
    expect(new Set(rest.map(({ tid }) => tid))).toEqual(new Set(spans.map(({ tid }) => tid)))
    expect(events.slice(0, 3).every(({ ph }) => ph === "M")).toBe(true)
  })

  test("hold microseconds: a span begins after 0, where tools look for the begin, and takes no less than nothing", () => {
    expect(Math.min(...spans.map(({ ts }) => ts))).toBeGreaterThan(0)
    for (const { dur = -1 } of spans) expect(dur).toBeGreaterThanOrEqual(0)
    const kernels = spans.filter(({ name }) => name.startsWith("kernel "))
    const told = [long(1), long(2)].flatMap((p) => p.kernels)
    expect(kernels).toHaveLength(told.length)
    kernels.forEach(({ dur }, i) => {
      const { begin, end } = told[i] as Profile.KernelTime
      expect(Math.abs((dur ?? 0) * 1000 - (end - begin))).toBeLessThanOrEqual(1)
    })
  })

  test("have no two spans of a row that overlap: tools drop those that end inside the next", () => {
    for (const row of [1, 2]) {
      const own = spans.filter(({ tid }) => tid === row)
      expect(own.length).toBeGreaterThan(7)
      for (const [i, { ts }] of own.entries()) {
        const before = own[i - 1]
        if (before !== undefined) expect(before.ts + (before.dur ?? 0)).toBeLessThanOrEqual(ts)
      }
    }
  })
})

/** A contraction, a norm, and an update in place. */
const program = compile(
  ({ x, w, cache, at }) => {
    const y = Tensor.rmsNorm(Tensor.matmul(x, w))
    return { cache: Tensor.updateSlice(cache, y, at, { axis: 0 }) }
  },
  { x: spec("f32", ["T", 4]), w: spec("f32", [4, 4]), cache: spec("f32", ["C", 4]), at: spec("i32", []) },
  { donate: ["cache"] }
)

describe.each([
  ["reference", Reference.layer],
  ["wasm, one thread", Wasm.layerWith({ threads: 1 })],
  ["wasm, two threads", Wasm.layerWith({ threads: 2 })]
] as const)("without a device: %s", (_, layer) => {
  test("every kernel that ran, in order, by the clock of the thread; arguments stay what they are", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const f = yield* program
      for (const t of [1, 5, 700]) {
        const inputs = {
          x: HostArray.fromNumbers("f32", [t, 4], new Float64Array(4 * t).fill(0.5)),
          w: HostArray.fromNumbers("f32", [4, 4], new Float64Array(16).fill(0.25)),
          at: HostArray.scalar("i32", 1)
        }
        const cache = yield* upload(
          HostArray.fromNumbers("f32", [t + 2, 4], new Float64Array(4 * t + 8).fill(7))
        )
        const alive = backend.buffersAlive()
        for (let n = 0; n < 3; n++) {
          const { kernels, clock, host } = yield* f.profile({ ...inputs, cache })
          expect(clock).toBe("thread")
          const names = kernels.map(({ name }) => name)
          const order = [/^rms_norm/, /^update|^scatter/].map((word) =>
            names.findIndex((name) => word.test(name))
          )
          expect(order).toEqual([...order].sort((a, b) => a - b))
          expect(order[0]).toBeGreaterThan(0)
          for (const [i, { begin, end, workgroups }] of kernels.entries()) {
            expect(begin).toBe(i === 0 ? 0 : kernels[i - 1]?.end)
            expect(end).toBeGreaterThanOrEqual(begin)
            expect(workgroups).toBeGreaterThan(0)
          }
          expect(host.encode).toBeGreaterThanOrEqual(0)
          expect(host.wait).toBeGreaterThanOrEqual(kernels.at(-1)?.end ?? 0)
        }
        expect(backend.buffersAlive()).toBe(alive)
        expect([...(yield* download(cache)).data].every((x) => x === 7)).toBe(true)
        const out = yield* f({ ...inputs, cache })
        expect([...out.cache.data].slice(0, 8).map((x) => Math.round(x * 100) / 100)).toEqual([
          7, 7, 7, 7, 1, 1, 1, 1
        ])
      }
    }).pipe(Effect.scoped, Effect.provide(layer), Effect.runPromise))

  test("a call that is refused is refused here too, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const f = yield* program
      const inputs = {
        x: HostArray.zeros("f32", [1, 4]),
        w: HostArray.zeros("f32", [4, 4]),
        at: HostArray.scalar("i32", 0)
      }
      const gone = yield* Effect.scoped(upload(HostArray.zeros("f32", [3, 4])))
      const error = yield* Effect.flip(f.profile({ ...inputs, cache: gone }))
      expect(error._tag).toBe("InvalidArray")
      expect((yield* Effect.flip(f.profile({ ...inputs, cache: 3 } as never)))._tag).toBe("SignatureError")
      expect(backend.buffersAlive()).toBe(0)
    }).pipe(Effect.provide(layer), Effect.runPromise))
})

test("a thread's clock that is rounded, as pages get it, is told", () => {
  const times = [0, 0.3, 0.7, 1.2, 1.2, 3.4]
  const stopwatch = Stopwatch.make(() => times.shift() ?? 5)
  stopwatch.start()
  for (const kernel of [0, 1, 2]) stopwatch.lap({ name: "map", kernel, workgroups: 1 })
  const told = stopwatch.profile()
  expect(told.resolution).toBe(100_000)
  expect(told.kernels.map(({ begin, end }) => [begin, end])).toEqual([
    [0, 400_000],
    [400_000, 900_000],
    [900_000, 900_000]
  ])
  expect(told.host).toEqual({ encode: 300_000, wait: 3_100_000 })
})
