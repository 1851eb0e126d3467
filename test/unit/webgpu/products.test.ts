import { describe, expect, test } from "vitest"
import * as Intermediates from "../../../backends/webgpu/Intermediates.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import * as Size from "../../../backends/webgpu/Size.ts"
import * as Limits from "../../../ir/Limits.ts"
import { matmulSchedule, sharedSchedule } from "../../../ir/matmulSchedule.ts"
import { illegalMatmul } from "../../../ir/matmulSchedules.ts"
import type { Matmul } from "../../../ir/Schedule.ts"
import { graphOf } from "../../support/evaluate.ts"
import { planOf } from "../../support/plans.ts"

const kinds = [
  ["gpu", Limits.portable],
  ["cpu", { ...Limits.portable, kind: "cpu", subgroups: { min: 4, max: 4 } }]
] as const satisfies ReadonlyArray<readonly [string, Limits.Limits]>

describe.each(kinds)("products whose sums are split, on a %s", (_, limits) => {
  const sizes = { batch: 1, rows: undefined, columns: 64, depth: 4096 }

  test("are those of few tiles and long sums", () => {
    const split = matmulSchedule(limits, sizes).split
    expect(split?.rows).toBeGreaterThan(8)
    expect(split?.most).toBeGreaterThan(1)
    expect(matmulSchedule(limits, { ...sizes, depth: 511 }).split).toBeUndefined()
    expect(matmulSchedule(limits, { ...sizes, columns: 100_000 }).split).toBeUndefined()
    expect(matmulSchedule(limits, { ...sizes, columns: undefined }).split).toBeUndefined()
    expect(matmulSchedule(limits, { ...sizes, batch: 1000 }).split).toBeUndefined()
    expect(matmulSchedule(limits, { ...sizes, rows: 100_000 }).split).toBeUndefined()
    expect(matmulSchedule(limits, { ...sizes, rows: 1 }).split).toBeUndefined()
  })

  test("keep their parts in one buffer, which calls of more rows do without", () => {
    const graph = graphOf(`graph {
      %x: f32[M, 4096] = input {name = "x"}
      %w: f32[4096, 64] = input {name = "w"}
      %0: f32[M, 64] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
      return %0
    }`)
    const program = lower(planOf(graph), limits)
    const schedule = matmulSchedule(limits, sizes)
    const rows = schedule.split?.rows ?? 0
    const most = Math.max(schedule.split?.most ?? 0, schedule.few?.tile.split?.most ?? 0)
    const bytes = (M: number) => program.slots.map((slot) => Size.evaluate(slot.bytes, { M }))
    const used = (M: number) =>
      Intermediates.of(program, Program.steps(program, { M }), { M }, limits).places.size
    expect(bytes(5)).toEqual([most * 5 * 64 * 4])
    expect(used(rows)).toBe(1)
    expect(bytes(100 * rows)).toEqual(bytes(rows))
    expect(used(rows + 1)).toBe(0)
    expect(used(1)).toBe(0)
  })
})

test("products of one dispatch have one schedule, of fewer sums on software devices, and are not split", () => {
  const sizes = [512, 128].map((columns) => ({ batch: 1, rows: undefined, columns, depth: 4096 }))
  for (const [, limits] of kinds) {
    const own = sizes.map((s) => matmulSchedule(limits, s))
    const shared = sharedSchedule(own, limits)
    expect(illegalMatmul(shared as Matmul, limits)).toBeUndefined()
    expect([shared?.split, shared?.few?.tile.split]).toEqual([undefined, undefined])
    const sums = (s: Matmul | undefined) => (s?.threadRows ?? 0) * (s?.threadColumns ?? 0)
    expect(sums(shared)).toBe(limits.kind === "cpu" ? 64 : sums(own[0]))
  }
  expect(sharedSchedule([], Limits.portable)).toBeUndefined()
})

test.each(kinds)("few rows are not computed as many, on a %s", (_, limits) => {
  const graph = graphOf(`graph {
    %x: f32[M, 64] = input {name = "x"}
    %w: f32[64, 4096] = input {name = "w"}
    %0: f32[M, 4096] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
    return %0
  }`)
  const program = lower(planOf(graph), limits)
  const { rows, columns, few, vector } = matmulSchedule(limits, {
    batch: 1,
    rows: undefined,
    columns: 4096,
    depth: 64
  })
  /** Rows that the tiles of a call have. */
  const computed = (M: number): number => {
    const [step, ...more] = Program.steps(program, { M })
    expect(more).toEqual([])
    const { name, workgroups } = program.kernels[step?.kernel ?? 0] as Program.Kernel
    if (name === "matmul_vector") return M
    const small = few !== undefined && M <= few.rows
    const tile = small ? few.tile : { rows, columns }
    return (Size.evaluate(workgroups, { M }) / (4096 / tile.columns)) * tile.rows
  }
  const most = few?.tile.rows ?? 0
  for (let M = 1; M <= (few?.rows ?? 0); M++) {
    expect(computed(M) - M).toBeLessThan(most)
    if (M <= vector.rows) expect(computed(M)).toBe(M)
  }
  expect(most).toBeLessThan(rows)
  expect(computed(1000) - 1000).toBeLessThan(rows)
})
