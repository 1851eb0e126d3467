import { expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Limits from "../../../ir/Limits.ts"
import { illegalMatmul } from "../../../ir/matmulSchedules.ts"
import type { Matmul, Schedule } from "../../../ir/Schedule.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { allOf, multiplied, productFamilies, productFamilyNames } from "../../support/multiplied.ts"
import { planOf } from "../../support/plans.ts"
import { limitsOf } from "../../support/runProgram.ts"
import { worstShare } from "../../support/scheduled.ts"

const draws = 8

test.each(productFamilyNames)(
  "schedules drawn from all that are legal agree with the reference: %s",
  async (family) => {
    const limits = await limitsOf("gpu")
    const all = allOf(family, limits)
    const from = arrays.random(productFamilyNames.indexOf(family))
    for (let n = 0; n < draws; n++) {
      const number = from.integer(0, all.length - 1)
      const drawn = multiplied(family, all[number] as Matmul, limits, number)
      const again = `npm run schedules -- --family "${family}" --from ${number} --limit 1`
      await expect(worstShare(drawn, productFamilies[family].arithmetic), again).resolves.toBeLessThanOrEqual(
        1
      )
    }
  }
)

const portable = Limits.portable
const software: Limits.Limits = { ...portable, kind: "cpu", subgroups: { min: 4, max: 4 } }

const shared: Matmul = {
  kind: "matmul",
  ...{ rows: 64, columns: 64, depth: 16, threadRows: 4, threadColumns: 4, quads: false, split: undefined },
  vector: { rows: 3, threads: 64, share: 64, columns: 4 },
  few: undefined
}

const own: Matmul = {
  ...shared,
  ...{ rows: 32, columns: 32, depth: 4, threadRows: 32, threadColumns: 8, quads: true }
}

const refused: ReadonlyArray<readonly [reason: string, schedule: Matmul, limits: Limits.Limits]> = [
  ["48 rows are none of 1, 2, 4, 8, 16, 32, 64", { ...shared, rows: 48 }, portable],
  ["a part is larger than the whole", { ...shared, rows: 2 }, portable],
  ["1024 threads exceed 256", { ...shared, threadRows: 2, threadColumns: 2 }, portable],
  ["16640 bytes of workgroup memory exceed 16384", { ...shared, depth: 32 }, portable],
  ["threads that share tiles do not pass on what they load", { ...shared, quads: true }, portable],
  [
    "8 of 4 threads cannot share a sum",
    { ...shared, vector: { ...shared.vector, threads: 4, share: 8 } },
    portable
  ],
  ["rows are counts", { ...shared, vector: { ...shared.vector, rows: 1.5 } }, portable],
  [
    "3 of the depth in a part are none of 1, 4, 64, 256",
    { ...shared, split: { rows: 4, depth: 3, most: 2 } },
    portable
  ],
  [
    "few rows: 128 rows are none of 1, 2, 4, 8, 16, 32, 64",
    { ...shared, few: { rows: 4, tile: { ...shared, rows: 128 } } },
    portable
  ],
  ["16 of the depth are none of 4", { ...own, depth: 16 }, software],
  ["quads cannot pass on what they load", own, { ...software, subgroups: undefined }],
  ["quads have no rows to share", { ...own, rows: 2, threadRows: 2 }, software],
  ["the tile is not that of one thread, or of a quad", { ...own, quads: false }, software],
  ["a thread by itself multiplies in float32", { ...own, arithmetic: "f16" }, software]
]

test("a schedule that does not fit is refused before anything is compiled, with the reason", () => {
  const graph = graphOf(`graph {
    %x: f32[M, 64] = input {name = "x"}
    %w: f32[64, 64] = input {name = "w"}
    %0: f32[M, 64] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
    return %0
  }`)
  const lowered = (schedule: Schedule, limits: Limits.Limits): unknown =>
    lower(planOf(graph, new Map([[graph.nodes.at(-1) as (typeof graph.nodes)[0], schedule]])), limits)
  expect(illegalMatmul(shared, portable)).toBeUndefined()
  expect(illegalMatmul(own, software)).toBeUndefined()
  for (const [reason, schedule, limits] of refused) {
    expect(illegalMatmul(schedule, limits)).toBe(reason)
    expect(() => lowered(schedule, limits)).toThrow(
      expect.objectContaining({
        _tag: "UnsupportedByDevice",
        message: `dot: the schedule does not fit: ${reason}`
      })
    )
  }
})
