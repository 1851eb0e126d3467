import * as Dim from "../../../ir/Dim.ts"
import * as Budget from "../../../ir/flashBudget.ts"
import { illegal } from "../../../ir/flashSchedules.ts"
import { UnsupportedByDevice } from "../../errors.ts"
import type { Job, Lowered } from "../Job.ts"
import type { Condition } from "../Program.ts"
import * as Size from "../Size.ts"
import { combine, decode, partBytes, splitsOf } from "./decode.ts"
import * as Problem from "./Problem.ts"
import { prefill } from "./prefill.ts"

/**
 * The kernels of a body around `flash_attention`. All variants are compiled; which of them a call runs follows from its
 * lengths by `when`, so that no length compiles anything.
 */
export const lowerFlash = (job: Job): ReadonlyArray<Lowered> => {
  const problem = Problem.of(job)
  const { schedule, limits, D, E, R } = problem
  const group = Dim.value(problem.group)
  const refused = illegal(schedule, limits, D, E, "f32", group)
  if (refused !== undefined)
    throw new UnsupportedByDevice({ message: `flash_attention: the schedule does not fit: ${refused}` })

  const lowered: Array<Lowered> = []
  const rows = Size.from(R)
  const above = (n: number): Condition => ({ _tag: "size", left: rows, relation: ">", right: Size.from(n) })
  const atMost = (n: number): Condition => ({ _tag: "size", left: rows, relation: "<=", right: Size.from(n) })
  const variants = Budget.splitVariants(schedule, D, E, group, Dim.value(problem.T)).map(
    ({ most, tile }, n, all) => ({ least: all[n - 1]?.most ?? 0, most, tile: tile as Budget.Tile })
  )
  const most = variants.at(-1)?.most
  if (most !== undefined) {
    // Parts of as many splits are combined by one kernel.
    const [own, shared] = [false, true].map((shared) => variants.filter((v) => v.tile.shared === shared))
    const combined = [own, shared].flatMap((those = []) => {
      const [first, last] = [those[0], those.at(-1)]
      return first === undefined || last === undefined ? [] : [{ ...last, least: first.least }]
    })
    const parts = job.scratch(
      combined.map(({ tile, most }) => partBytes(problem, tile, most)).reduce((a, b) => Size.max(a, b))
    )
    for (const { least, most, tile } of variants)
      lowered.push(decode(problem, tile, parts, [above(least), atMost(most)]))
    for (const { least, most, tile } of combined) {
      const splits = splitsOf(problem, tile)
      const several: Condition = { _tag: "size", left: splits, relation: ">", right: Size.one }
      lowered.push(combine(problem, splits, parts, [above(least), atMost(most), several]))
    }
  }
  const static_ = Dim.value(R)
  if (most === undefined || static_ === undefined || static_ > most) {
    const tile = Budget.prefillTile(schedule.prefill, D, E) as Budget.Tile
    lowered.push(prefill(problem, tile, most === undefined ? [] : [above(most)]))
  }
  return lowered
}
