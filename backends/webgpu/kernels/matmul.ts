import * as Dim from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import * as Size from "../Size.ts"
import { contractionOf, scheduleOf } from "./contraction.ts"
import { matmulRegisters } from "./matmulRegisters.ts"
import { matmulTiles } from "./matmulTiles.ts"
import { matmulVector } from "./matmulVector.ts"
import type { Part } from "./Part.ts"

/**
 * General contraction: for each batch entry, rows (free axes of lhs) × columns (free axes of rhs) of sums over the
 * contracted axes, in f32 or in the integer type. Any layout: operands are read through the views of the body. Few rows are a kernel of their own;
 * where lengths decide, both are there.
 */
export const matmul = (job: Job): ReadonlyArray<Part> => {
  const c = contractionOf(job)
  const rows = Shape.size(c.rows)
  const [known, few] = [Dim.value(rows), scheduleOf(job, c).vector.rows]
  const tiles = job.limits.kind === "cpu" ? matmulRegisters : matmulTiles
  const when = (relation: "<=" | ">"): Pick<Part, "when"> =>
    known === undefined
      ? { when: [{ _tag: "size", left: Size.from(rows), relation, right: Size.from(few) }] }
      : {}
  const part = (name: string, variant: typeof tiles): Part => ({
    name,
    emit: (emitter, own, workgroup) => variant(emitter, own, contractionOf(own), workgroup)
  })
  return [
    ...(known === undefined || known <= few
      ? [{ ...part("matmul_vector", matmulVector), ...when("<=") }]
      : []),
    ...(known !== undefined && known <= few ? [] : [{ ...part("matmul", tiles), ...when(">") }])
  ]
}
