import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as Profile from "../../../src/Profile.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"

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
  })

  test("are traces: complete events in microseconds, kernels inside what the host waited for, calls apart", () => {
    const { traceEvents } = JSON.parse(Profile.trace([profile(2_000, 1_000), profile(2_000, 1_000)], "mine"))
    const spans = traceEvents.filter((e: { ph: string }) => e.ph === "X")
    const call = ["encode", "wait", "matmul", "softmax", "matmul"]
    expect(spans.map((e: { name: string }) => e.name)).toEqual([...call, ...call])
    const of = (call: number, name: string) =>
      spans.filter((e: { name: string; args: { call: number } }) => e.name === name && e.args.call === call)
    expect(of(0, "matmul").map((e: { ts: number; dur: number }) => [e.ts, e.dur])).toEqual([
      [5, 2],
      [8, 2]
    ])
    const [encode, wait, next] = [of(0, "encode")[0], of(0, "wait")[0], of(1, "encode")[0]]
    expect([encode.ts, encode.dur, wait.ts, wait.dur, next.ts]).toEqual([0, 5, 5, 1_000, 1_005])
    expect(of(1, "softmax")[0].args).toMatchObject({ kernel: 1, workgroups: 8, clock: "device" })
    const rows = traceEvents.filter((e: { ph: string }) => e.ph === "M")
    expect(rows.map((e: { args: { name: string } }) => e.args.name)).toEqual(["mine", "host", "kernels"])
    // Kernels in one row, the host in another, of one process.
    expect(new Set(spans.map((e: { pid: number }) => e.pid)).size).toBe(1)
    expect(of(0, "wait")[0].tid).not.toBe(of(0, "matmul")[0].tid)
  })

  test("are refused by a backend that cannot tell, with a reason", () =>
    Effect.gen(function* () {
      const f = yield* compile(({ x }) => Tensor.neg(x), { x: spec("f32", ["N"]) })
      const error = yield* Effect.flip(f.profile({ x: HostArray.zeros("f32", [2]) }))
      expect(error._tag).toBe("UnsupportedByDevice")
      expect(error.message).toContain("reference")
    }).pipe(Effect.provide(Reference.layer), Effect.runPromise))
})
