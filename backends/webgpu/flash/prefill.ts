import type * as Budget from "../../../ir/flashBudget.ts"
import type { Lowered } from "../Job.ts"
import type { Condition } from "../Program.ts"
import * as Module from "../wgsl/Module.ts"
import * as Frame from "./frame.ts"
import * as Owned from "./owned.ts"
import { kernelName, type Problem } from "./Problem.ts"
import * as Rows from "./rows.ts"
import * as Tile from "./tile.ts"
import * as Visits from "./visits.ts"

/**
 * The kernel for many queries: a workgroup owns a block of packed rows of one key/value head, which share every K and V element it reads, and
 * visits the keys that the range region leaves.
 */
export const prefill = (problem: Problem, tile: Budget.Tile, when: ReadonlyArray<Condition>): Lowered => {
  const module = Module.make(problem.job)
  const frame = Frame.open(module, problem, tile, undefined)
  const loop = tile.owned ? Owned.loop : Tile.loop
  loop(frame, () => {})
  Rows.storeResult(frame, Rows.join(frame))
  const lowered = module.finish({
    name: kernelName("flash_prefill", problem),
    lines: frame.e.lines(),
    workgroupSize: [tile.threads, 1, 1],
    workgroups: Frame.workgroups(problem, Frame.blocksOf(problem, tile, undefined)),
    when
  })
  const visits = Visits.of(problem, tile.rows)
  return visits === undefined ? lowered : { ...lowered, visits }
}
