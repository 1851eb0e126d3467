import { describe, expect, test } from "vitest"
import * as Launch from "../../../backends/webgpu/Launch.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import type * as Program from "../../../backends/webgpu/Program.ts"
import * as Size from "../../../backends/webgpu/Size.ts"
import * as Limits from "../../../ir/Limits.ts"
import { graphOf } from "../../support/evaluate.ts"
import { planOf } from "../../support/runProgram.ts"

const none: ReadonlySet<number> = new Set()

const dot = "{lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}"
const program = lower(
  planOf(
    graphOf(`
      %x: f32[M, K] = input {name = "x"}
      %y: f32[K, N] = input {name = "y"}
      %0: f32[M, N] = dot %x, %y ${dot}
      %1: f32[M, N] = neg %0
      %2: f32[M] = reduce_sum %1 {axes = [1]}
      return %2`)
  ),
  Limits.portable
)

describe("launch", () => {
  test("is one submit with a dispatch for each step, its lengths and its bytes", () => {
    const launch = Launch.make(program, { M: 3, K: 5, N: 7 }, none, Limits.portable)
    expect(launch.submits).toEqual([
      [
        { step: 0, grid: [1, 1], block: 0 },
        { step: 1, grid: [1, 1], block: 0 },
        { step: 2, grid: [3, 1], block: 0 }
      ]
    ])
    expect([...launch.uniform]).toEqual([0, 0, 5, 3, 7, 0, 0, 0])
    expect(launch.inputs).toEqual([64, 144])
    expect(launch.slots.map(({ bytes }) => bytes)).toEqual([96, 96])
    expect(launch.outputs).toEqual([{ bytes: 16, shape: [3] }])
  })

  test("estimates work by contractions, elements, and what reductions read", () => {
    const sizes = { M: 3, K: 5, N: 7 }
    expect(program.steps.map(({ work }) => Size.evaluate(work as Size.Size, sizes))).toEqual([105, 21, 21])
  })

  test("is refused with the reason where the device cannot", () => {
    const { refused } = Launch.make(program, { M: 2 ** 20, K: 1, N: 2 ** 20 }, none, Limits.portable)
    expect(refused?.message).toContain("bytes")
  })

  test("splits what takes long: every workgroup runs, in one range, and no submit holds more than it may", () => {
    const limits = { ...Limits.portable, maxComputeWorkgroupsPerDimension: 33 }
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
            expect(Math.max(...grid)).toBeLessThanOrEqual(33)
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
