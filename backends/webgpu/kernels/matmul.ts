import type { Job, Lowered } from "../Job.ts"
import { contractionOf } from "./contraction.ts"
import { matmulRegisters } from "./matmulRegisters.ts"
import { matmulTiles } from "./matmulTiles.ts"

/**
 * General contraction: for each batch entry, rows (free axes of lhs) × columns (free axes of rhs) of sums over the
 * contracted axes, in f32 or in the integer type. Any layout: operands are read through the views of the body.
 */
export const matmul = (job: Job): Lowered => {
  const contraction = contractionOf(job)
  return job.limits.kind === "cpu" ? matmulRegisters(job, contraction) : matmulTiles(job, contraction)
}
