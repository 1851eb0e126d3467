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
  const variants = Budget.splitVariants(schedule, D, E, group, Dim.value(problem.T))
  const most = variants.at(-1)?.most
  if (most !== undefined) {
    const parts = job.scratch(partBytes(problem, most))
    variants.forEach((variant, n) => {
      const when = [above(variants[n - 1]?.most ?? 0), atMost(variant.most)]
      lowered.push(decode(problem, variant.tile as Budget.Tile, parts, when))
    })
    const several: Condition = { _tag: "size", left: splitsOf(problem), relation: ">", right: Size.one }
    lowered.push(combine(problem, parts, [above(0), atMost(most), several]))
  }
  const static_ = Dim.value(R)
  if (most === undefined || static_ === undefined || static_ > most) {
    const tile = Budget.prefillTile(schedule.prefill, D, E) as Budget.Tile
    lowered.push(prefill(problem, tile, most === undefined ? [] : [above(most)]))
  }
  return lowered
}
