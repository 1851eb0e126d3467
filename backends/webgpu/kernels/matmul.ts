import * as Dim from "../../../ir/Dim.ts"
import type { MatmulTile } from "../../../ir/Schedule.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job, Ref } from "../Job.ts"
import type { Condition } from "../Program.ts"
import * as Size from "../Size.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { type Contraction, contractionOf, scheduleOf } from "./contraction.ts"
import { matmulRegisters } from "./matmulRegisters.ts"
import { matmulCombine, partBytes, partsOf } from "./matmulSplit.ts"
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
  const { vector, few, ...all } = scheduleOf(job, c)
  const [rows, depth] = [Shape.size(c.rows), Shape.size(c.depth)]
  const kernel = job.limits.kind === "cpu" ? matmulRegisters : matmulTiles
  const part = (name: string, emit: Variant, ...facts: ReadonlyArray<Fact>): ReadonlyArray<Part> => {
    if (facts.includes(false)) return []
    const when = facts.filter((f) => typeof f !== "boolean")
    return [
      {
        name,
        emit: (emitter, own, workgroup) => emit(emitter, own, contractionOf(own), workgroup),
        ...(when.length === 0 ? {} : { when })
      }
    ]
  }
  let taken: Ref | undefined
  /** One buffer for the parts of either cut. */
  const room = (): Ref => {
    const splits = [all.split, few?.tile.split].filter((split) => split !== undefined)
    taken ??= job.scratch(splits.map((split) => partBytes(c, split)).reduce(Size.max))
    return taken
  }
  /** Tiles for calls of more rows than `above` and, if that is given, at most `most`. */
  const tiles = (tile: MatmulTile, above: number, most = Infinity): ReadonlyArray<Part> => {
    const { split } = tile
    const whole: Variant = (e, own, of, workgroup) => kernel(e, own, of, workgroup, tile)
    const [more, last] = [fact(rows, ">", above), fact(rows, "<=", most)]
    if (split === undefined || split.rows <= above) return part("matmul", whole, more, last)
    const sums = { parts: partsOf(c, split), sums: room() }
    const parts: Variant = (e, own, of, workgroup) => kernel(e, own, of, workgroup, tile, sums)
    const combine: Variant = (e, own, of, workgroup) => matmulCombine(e, own, of, workgroup, sums)
    const end = Math.min(split.rows, most)
    const those = [more, fact(rows, "<=", end)]
    return [
      ...part("matmul_split", parts, ...those, fact(depth, ">", split.depth)),
      ...part("matmul_combine", combine, ...those, fact(depth, ">", split.depth)),
      ...part("matmul", whole, ...those, fact(depth, "<=", split.depth)),
      ...(end < most ? part("matmul", whole, fact(rows, ">", end), last) : [])
    ]
  }
  return [
    ...part("matmul_vector", matmulVector, fact(rows, "<=", vector.rows)),
    ...(few === undefined ? [] : tiles(few.tile, vector.rows, few.rows)),
    ...tiles(all, Math.max(vector.rows, few?.rows ?? 0))
  ]
}

type Variant = (emitter: Emitter, job: Job, c: Contraction, workgroup: string) => Extent

/** Whether something holds, or what decides it at each call. */
type Fact = boolean | Condition

const fact = (size: Dim.Dim, relation: "<=" | ">", bound: number): Fact => {
  if (bound === Infinity) return relation === "<="
  const known = Dim.value(size)
  if (known !== undefined) return known <= bound === (relation === "<=")
  return { _tag: "size", left: Size.from(size), relation, right: Size.from(bound) }
}
