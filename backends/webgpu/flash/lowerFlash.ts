import * as Dim from "../../../ir/Dim.ts"
import * as Budget from "../../../ir/flashBudget.ts"
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
  const refused = Budget.illegal(schedule, limits, D, E, "f32", group)
  if (refused !== undefined)
    throw new UnsupportedByDevice({ message: `flash_attention: the schedule does not fit: ${refused}` })

  const lowered: Array<Lowered> = []
  const rows = Size.from(R)
  const above = (n: number): Condition => ({ _tag: "size", left: rows, relation: ">", right: Size.from(n) })
  const atMost = (n: number): Condition => ({ _tag: "size", left: rows, relation: "<=", right: Size.from(n) })
  const variants = Budget.decodeVariants(schedule, group, Dim.value(problem.T))
  if (variants.length > 0) {
    const parts = job.scratch(partBytes(problem, variants.at(-1) as number))
    variants.forEach((most, n) => {
      const tile = Budget.decodeTile(schedule.decode, most, D, E) as Budget.Tile
      const previous = variants[n - 1]
      const when = [above(previous ?? 0), atMost(most)]
      lowered.push(decode(problem, tile, parts, when))
    })
    const several: Condition = { _tag: "size", left: splitsOf(problem), relation: ">", right: Size.one }
    lowered.push(combine(problem, parts, [above(0), atMost(variants.at(-1) as number), several]))
  }
  const most = variants.at(-1)
  const static_ = Dim.value(R)
  if (most === undefined || static_ === undefined || static_ > most) {
    const tile = Budget.prefillTile(schedule.prefill, D, E) as Budget.Tile
    lowered.push(prefill(problem, tile, most === undefined ? [] : [above(most)]))
  }
  return lowered
}
