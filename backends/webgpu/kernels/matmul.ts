import * as Dim from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import type { Condition } from "../Program.ts"
import * as Size from "../Size.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { type Contraction, contractionOf, scheduleOf } from "./contraction.ts"
import { matmulRegisters } from "./matmulRegisters.ts"
import { matmulCombine, splitOf } from "./matmulSplit.ts"
import { matmulTiles } from "./matmulTiles.ts"
import { matmulVector } from "./matmulVector.ts"
import type { Extent, Part } from "./Part.ts"

/**
 * General contraction: for each batch entry, rows (free axes of lhs) × columns (free axes of rhs) of sums over the
 * contracted axes, in f32 or in the integer type. Any layout: operands are read through the views of the body. Few rows are kernels of their own, and so are
 * few tiles of long sums; where lengths decide, all are there.
 */
export const matmul = (job: Job): ReadonlyArray<Part> => {
  const c = contractionOf(job)
  const { vector, split } = scheduleOf(job, c)
  const [rows, depth] = [Shape.size(c.rows), Shape.size(c.depth)]
  const tiles = job.limits.kind === "cpu" ? matmulRegisters : matmulTiles
  const part = (name: string, variant: Variant, ...all: ReadonlyArray<Fact>): ReadonlyArray<Part> => {
    if (all.includes(false)) return []
    const when = all.filter((fact) => fact !== true)
    const emit: Part["emit"] = (emitter, own, workgroup) =>
      variant(emitter, own, contractionOf(own), workgroup)
    return [{ name, emit, ...(when.length === 0 ? {} : { when: when as ReadonlyArray<Condition> }) }]
  }
  const few = part("matmul_vector", matmulVector, fact(rows, "<=", vector.rows))
  const above = fact(rows, ">", vector.rows)
  if (split === undefined) return [...few, ...part("matmul", tiles, above)]
  const parts = splitOf(job, c, split)
  const divided = [above, fact(rows, "<=", split.rows), fact(depth, ">", split.depth)]
  return [
    ...few,
    ...part("matmul_split", (e, own, of, workgroup) => tiles(e, own, of, workgroup, parts), ...divided),
    ...part(
      "matmul_combine",
      (e, own, of, workgroup) => matmulCombine(e, own, of, workgroup, parts),
      ...divided
    ),
    ...part("matmul", tiles, above, fact(rows, "<=", split.rows), fact(depth, "<=", split.depth)),
    ...part("matmul", tiles, fact(rows, ">", Math.max(split.rows, vector.rows)))
  ]
}

type Variant = (emitter: Emitter, job: Job, c: Contraction, workgroup: string) => Extent

/** Whether something holds, or what decides it at each call. */
type Fact = boolean | Condition

const fact = (size: Dim.Dim, relation: "<=" | ">", bound: number): Fact => {
  const known = Dim.value(size)
  if (known !== undefined) return known <= bound === (relation === "<=")
  return { _tag: "size", left: Size.from(size), relation, right: Size.from(bound) }
}
