import type { Job, Lowered } from "../Job.ts"
import { pack } from "../kernels/pack.ts"
import { tileColumns, tileRows } from "../kernels/tile.ts"
import { attend } from "./attend.ts"
import * as Problem from "./Problem.ts"
import * as Values from "./values.ts"

/** The kernels of a body around `flash_attention`: what they read many times is packed, then blocks of queries pass over the keys they see. */
export const flash = (job: Job): ReadonlyArray<Lowered> => {
  const problem = Problem.of(job)
  const terms = problem.terms.map(({ q, k }) => ({ q: pack(job, q, tileRows), k: pack(job, k, tileColumns) }))
  const lying = Values.inPlace(problem)
  const v = problem.output !== "result" || lying !== undefined ? undefined : pack(job, problem.v, tileColumns)
  const values = lying ?? (v && Values.packed(v.ref))
  return [
    ...terms.flatMap(({ q, k }) => [q.lowered, k.lowered]),
    ...(v === undefined ? [] : [v.lowered]),
    attend(
      problem,
      terms.map(({ q, k }) => ({ q: q.ref, k: k.ref })),
      problem.output === "result" ? values : undefined
    )
  ]
}
