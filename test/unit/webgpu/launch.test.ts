import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Launch from "../../../backends/webgpu/Launch.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import * as Size from "../../../backends/webgpu/Size.ts"
import type { Bindings } from "../../../ir/Dim.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as Attention from "../../../src/Attention.ts"
import * as Mask from "../../../src/Mask.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { type Signature, trace } from "../../../src/trace.ts"
import { graphOf } from "../../support/evaluate.ts"
import { plainAttention } from "../../support/irText.ts"
import { planOf } from "../../support/plans.ts"

const none: ReadonlySet<number> = new Set()
const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

const attention = `
  %q: f32[B, 4, T, 8] = input {name = "q"}
  %k: f32[B, 2, S, 8] = input {name = "k"}
  %v: f32[B, 2, S, 6] = input {name = "v"}
  %0: f32[B, 4, T, 6] = ${plainAttention("%q, %k, %v")}
  return %0`

/** A map, rows, and rows over the inner axis of a product of three lengths. */
const program = lower(
  planOf(
    graphOf(`
      %x: f32[M, K] = input {name = "x"}
      %y: f32[M, K, N] = input {name = "y"}
      %0: f32[M, K] = neg %x
      %1: f32[M, K] = softmax %0 {axis = 1}
      %2: f32[M, K] = reduce_sum %y {axes = [2]}
      %3: f32[M, K] = mul %1, %2
      %4: f32[M] = reduce_sum %3 {axes = [1]}
      return %4`)
  ),
  Limits.portable
)

describe("launch", () => {
  test("is one submit with a dispatch for each step, its lengths and its bytes", () => {
    const launch = Launch.make(program, { M: 3, K: 5, N: 7 }, none, Limits.portable)
    const groups = [1, 3, 15, 1, 3]
    expect(launch.submits).toEqual([groups.map((x, step) => ({ step, grid: [x, 1], block: 0 }))])
    expect([...launch.uniform]).toEqual([0, 0, 5, 3, 7, 0, 0, 0])
    expect(launch.inputs).toEqual([64, 432])
    // Of four values of 64 bytes three are alive at once, at offsets that any device binds.
    expect(launch.intermediates.buffers).toEqual([3 * 256])
    expect(launch.outputs).toEqual([{ bytes: 16, shape: [3] }])
    expect(launch.kernels).toEqual([0, 1, 2, 3, 4])
  })

  test("estimates work by contractions, elements, and what reductions read", () => {
    const work = (text: string, sizes: Bindings) =>
      Size.evaluate(lower(planOf(graphOf(text)), Limits.portable).steps[0]?.work as Size.Size, sizes)
    expect(program.steps.map((s) => Size.evaluate(s.work as Size.Size, { M: 3, K: 5, N: 7 }))).toEqual([
      15, 15, 105, 15, 15
    ])
    const dot = `
      %x: f32[B, M, K] = input {name = "x"}
      %y: f32[B, N, K] = input {name = "y"}
      %0: f32[B, M, N] = dot %x, %y {lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [2]}
      return %0`
    expect(work(dot, { B: 2, M: 3, K: 5, N: 7 })).toBe(2 * 3 * 5 * 7)
    expect(work(attention, { B: 2, T: 3, S: 5 })).toBe(2 * 4 * 3 * 5 * (8 + 6))
  })

  test("counts once what is computed once: a pass over keys, the parts of a sum, rows that are written in place", () => {
    const works = (
      fn: (inputs: { readonly [name: string]: Tensor.Tensor }) => unknown,
      signature: Signature
    ) => {
      const limits = { ...Limits.portable, kind: "cpu", subgroups: { min: 4, max: 4 } } as const
      const { graph } = Result.getOrThrow(trace(fn as never, signature))
      const donated = new Set(["cache"])
      const { graph: kernels, ...plan } = Result.getOrThrow(
        Pipeline.run(pipeline, graph, { limits, donated })
      )
      if (plan.memory === undefined) throw new Error("memory was not planned")
      const { memory, schedules } = plan
      const program = lower({ graph: kernels, schedules, memory }, limits)
      return (sizes: Bindings, given: ReadonlySet<number> = none) =>
        Program.steps(program, sizes, given).map((s) => [
          (program.kernels[s.kernel] as Program.Kernel).name,
          Size.evaluate(s.work as Size.Size, sizes)
        ])
    }
    const product = works(({ x, w }) => Tensor.matmul(x as never, w as never), {
      x: spec("f32", [8, 4096]),
      w: spec("f32", [4096, 64])
    })
    const [split, combine] = product({})
    expect(split).toEqual(["matmul_split", 8 * 64 * 4096])
    expect(combine?.[0]).toBe("matmul_combine")
    // A few parts of each sum.
    expect(combine?.[1]).toBeLessThan((8 * 64 * 4096) / 32)
    expect((combine?.[1] as number) % (8 * 64)).toBe(0)

    const update = works(
      ({ cache, row }) =>
        Tensor.updateSlice(cache as never, row as never, Tensor.constant(0, "i32"), { axis: 0 }),
      { cache: spec("f32", ["C", 16]), row: spec("f32", ["N", 16]) }
    )
    expect(update({ C: 1000, N: 2 }, new Set([0]))).toEqual([["update", 2 * 16]])

    const both = works(
      ({ q, k, v }) => {
        const logits = Tensor.matmul(q as never, Tensor.transpose(k as never) as never) as Tensor.Tensor
        return {
          out: Tensor.matmul(Tensor.softmax(logits, -1), v as never),
          sum: Tensor.logSumExp(logits, -1)
        }
      },
      { q: spec("f32", [1, 4, "T", 16]), k: spec("f32", [1, 4, "S", 16]), v: spec("f32", [1, 4, "S", 16]) }
    )
    const [[name, work] = [], ...more] = both({ T: 300, S: 300 })
    expect([name, more]).toEqual(["flash_prefill_result_lse", []])
    // And a little for what comes before and after.
    expect((work as number) / (4 * 300 * 300 * 32)).toBeGreaterThanOrEqual(1)
    expect((work as number) / (4 * 300 * 300 * 32)).toBeLessThan(1.05)
  })

  test("splits by itself what is long for a watchdog, and nothing that is not", () => {
    const long = lower(planOf(graphOf(attention)), Limits.portable)
    const submits = (kind: Limits.Limits["kind"], length: number) =>
      Launch.make(long, { B: 8, T: length, S: length }, none, { ...Limits.portable, kind }).submits.length
    expect([submits("cpu", 512), submits("gpu", 512)]).toEqual([1, 1])
    // 4 heads, 14 multiply-adds for each of their pairs: 4.8e11 in all.
    const work = 8 * 4 * 32_768 ** 2 * 14
    expect(submits("cpu", 32_768)).toBeGreaterThanOrEqual(work / 2.5e9)
    expect(submits("cpu", 32_768)).toBeLessThan((2 * work) / 2.5e9)
    expect(submits("gpu", 32_768)).toBeGreaterThanOrEqual(work / 2e10)
    expect(submits("gpu", 32_768)).toBeLessThan((2 * work) / 2e10)
  })

  test("is refused with the reason where the device cannot", () => {
    const { refused } = Launch.make(program, { M: 2 ** 20, K: 1, N: 2 ** 10 }, none, Limits.portable)
    expect(refused?.message).toContain("bytes")
  })

  test("splits what takes long: every workgroup runs, in one range, and no submit holds more than it may", () => {
    const limits = { ...Limits.portable, maxComputeWorkgroupsPerDimension: 73 }
    let ranges = 0
    for (const M of [1, 5, 64, 333, 1001]) {
      for (const most of [1, 50, 1_000, 20_000, 1e9]) {
        const sizes = { M, K: 4, N: 3 }
        const launch = Launch.make(program, sizes, none, limits, most)
        const dispatches = launch.submits.flat()
        expect(launch.submits.every((s) => s.length > 0)).toBe(true)
        for (const [number, step] of program.steps.entries()) {
          const { workgroups } = program.kernels[step.kernel] as Program.Kernel
          const count = Size.evaluate(workgroups, sizes)
          const own = dispatches.filter((d) => d.step === number)
          let next = 0
          for (const [i, { grid, block }] of own.entries()) {
            expect(Math.max(...grid)).toBeLessThanOrEqual(73)
            const first = launch.uniform[block / 4 + 1]
            expect(first).toBe(next)
            next += grid[0] * grid[1]
            // Only the last may have workgroups to spare.
            if (i < own.length - 1) expect(next).toBeLessThan(count)
          }
          expect(next).toBeGreaterThanOrEqual(count)
          ranges = Math.max(ranges, own.length)
        }
        // The same lengths stand in every block.
        for (const { block } of dispatches) {
          expect([...launch.uniform.slice(block / 4 + 2, block / 4 + 5)]).toEqual([4, M, 3])
        }
        const whole = program.steps.reduce((sum, s) => sum + Size.evaluate(s.work as Size.Size, sizes), 0)
        if (whole <= most) expect(launch.submits).toHaveLength(1)
        else expect(launch.submits.length).toBeGreaterThan(1)
      }
    }
    expect(ranges).toBeGreaterThan(5)
  })
})

describe("work under a mask", () => {
  const signature = {
    q: spec("f32", ["B", 4, "T", 16]),
    k: spec("f32", ["B", 2, "S", 16]),
    v: spec("f32", ["B", 2, "S", 16]),
    n: spec("i32", ["B"])
  }
  const planned = (mask: (n: Tensor.Tensor<"i32">) => Mask.Mask, kind: "cpu" | "gpu") => {
    const fn = ({ q, k, v, n }: { readonly [name: string]: Tensor.Tensor }) =>
      Attention.scaledDotProductAttention(q as never, k as never, v as never, {
        mask: mask(n as Tensor.Tensor<"i32">)
      })
    const { graph } = Result.getOrThrow(trace(fn as never, signature))
    const limits = { ...Limits.portable, kind }
    const { graph: kernels, schedules, memory } = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
    if (memory === undefined) throw new Error("memory was not planned")
    return { limits, program: lower({ graph: kernels, schedules, memory }, limits) }
  }

  /** Whether a mask shows a key to a query, and which keys the rows from `first` to `last` may see at most. */
  const masks: ReadonlyArray<
    readonly [
      string,
      (n: Tensor.Tensor<"i32">) => Mask.Mask,
      (first: number, last: number, S: number) => number
    ]
  > = [
    ["causal", () => Mask.causal, (_, last, S) => Math.min(S, last + 1)],
    [
      "window",
      () => Mask.and(Mask.causal, Mask.slidingWindow(100)),
      (first, last, S) => Math.min(S, last + 1) - Math.min(S, Math.max(0, first - 100))
    ],
    ["by lengths, which only the data knows", (n) => Mask.padding(n), (_first, _last, S) => S],
    ["none", () => Mask.all, (_first, _last, S) => S]
  ]

  test.each(masks)(
    "%s: submits hold what is visited, in equal parts, and no more than they may",
    (_, mask, seen) => {
      for (const kind of ["cpu", "gpu"] as const) {
        const { limits, program } = planned(mask, kind)
        for (const [B, T, S] of [
          [1, 3000, 3000],
          [2, 1111, 2900],
          [3, 2048, 700]
        ] as const) {
          const sizes = { B, T, S }
          const steps = Program.steps(program, sizes)
          const prefill = steps.find(({ visits }) => visits !== undefined) ?? (steps[0] as Program.Step)
          const rows = prefill.visits?.block ?? 0
          const count = Size.evaluate((program.kernels[prefill.kernel] as Program.Kernel).workgroups, sizes)
          const blocks = count / (2 * B)
          // Multiply-adds of a workgroup of so many packed rows, two of a query: the last rows come first.
          const ofWorkgroup = (n: number): number => {
            if (rows === 0) return (B * 4 * T * S * 32) / count
            const block = blocks - 1 - (n % blocks)
            const packed = Math.min(rows, 2 * T - block * rows)
            const [first, last] = [block * rows, block * rows + packed - 1].map((row) => Math.floor(row / 2))
            return packed * Math.max(1, seen(first as number, last as number, S)) * 32
          }
          let total = 0
          for (let n = 0; n < count; n++) total += ofWorkgroup(n)
          for (const parts of [1, 7, 40]) {
            const most = total / parts
            const launch = Launch.make(program, sizes, none, limits, most)
            const own = launch.submits.filter((s) => s.some((d) => program.steps[d.step] === prefill))
            expect(own.length).toBeGreaterThanOrEqual(parts)
            expect(own.length).toBeLessThanOrEqual(parts + 1 + parts / 10)
            const largest = Math.max(...Array.from({ length: count }, (_, n) => ofWorkgroup(n)))
            for (const dispatches of own) {
              let work = 0
              for (const { grid, block } of dispatches) {
                const first = launch.uniform[block / 4 + 1] as number
                for (let n = first; n < Math.min(count, first + grid[0] * grid[1]); n++)
                  work += ofWorkgroup(n)
              }
              expect(work).toBeLessThanOrEqual(1.02 * most + largest)
            }
          }
        }
      }
    }
  )

  test("a few rows under a window are not split either, whatever the length", () => {
    const recent = Mask.keepWhere(({ query, key, keys, queries }) => {
      const own = Tensor.add(query, Tensor.sub(keys, queries))
      return Tensor.and(Tensor.le(key, own), Tensor.gt(key, Tensor.sub(own, 1000)))
    })
    const sizes = { B: 64, T: 1, S: 2 ** 23 }
    const work = 64 * 4 * 2 ** 23 * 32
    for (const kind of ["cpu", "gpu"] as const) {
      const submits = (mask: Mask.Mask) => {
        const { limits, program } = planned(() => mask, kind)
        const roomy = { ...limits, maxStorageBufferBindingSize: 2 ** 50, maxBufferSize: 2 ** 50 }
        return Launch.make(program, sizes, none, roomy).submits.length
      }
      expect(submits(recent)).toBe(1)
      expect(submits(Mask.all)).toBeGreaterThanOrEqual(work / Launch.mostWork[kind])
    }
  })

  test("a window is split by its width, whatever the length", () => {
    const { limits, program } = planned(() => Mask.and(Mask.causal, Mask.slidingWindow(256)), "cpu")
    const submits = (T: number) => Launch.make(program, { B: 2, T, S: T }, none, limits).submits.length
    expect([submits(4096), submits(16384)]).toEqual([1, 1])
    const full = planned(() => Mask.all, "cpu")
    expect(
      Launch.make(full.program, { B: 2, T: 16384, S: 16384 }, none, limits).submits.length
    ).toBeGreaterThan(20)
  })
})
