import * as Dim from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job, Lowered } from "../Job.ts"
import type { Condition } from "../Program.ts"
import * as Size from "../Size.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Module from "../wgsl/Module.ts"
import { type Contraction, contractionOf, type Part } from "./contraction.ts"
import { matmulRegisters } from "./matmulRegisters.ts"
import { matmulTiles } from "./matmulTiles.ts"
import { matmulVector } from "./matmulVector.ts"

/**
 * General contraction: for each batch entry, rows (free axes of lhs) × columns (free axes of rhs) of sums over the
 * contracted axes, in f32 or in the integer type. Any layout: operands are read through the views of the body. One row is a kernel of its own;
 * where lengths decide, both are there.
 */
export const matmul = (job: Job): ReadonlyArray<Lowered> => {
  const c = contractionOf(job)
  const rows = Shape.size(c.rows)
  const [known, one] = [Dim.value(rows), Size.from(1)]
  const tiles = job.limits.kind === "cpu" ? matmulRegisters : matmulTiles
  const when = (relation: "<=" | ">"): { readonly when?: ReadonlyArray<Condition> } =>
    known === undefined ? { when: [{ _tag: "size", left: Size.from(rows), relation, right: one }] } : {}
  return [
    ...(known === undefined || known === 1
      ? [{ ...kernel(job, c, "matmul_vector", matmulVector), ...when("<=") }]
      : []),
    ...(known === 1 ? [] : [{ ...kernel(job, c, "matmul", tiles), ...when(">") }])
  ]
}

type Variant = (emitter: Emitter.Emitter, job: Job, c: Contraction, workgroup: string) => Part

const kernel = (job: Job, c: Contraction, name: string, variant: Variant): Lowered => {
  const module = Module.make(job)
  const emitter = Emitter.make(module)
  const { threads, workgroups } = variant(emitter, job, c, Module.workgroupIndex)
  return module.finish({ name, lines: emitter.lines(), workgroupSize: [threads, 1, 1], workgroups })
}
