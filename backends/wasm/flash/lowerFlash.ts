import * as Dim from "../../../ir/Dim.ts"
import { parts } from "../../../ir/ops/flashAttention.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job, Lowered } from "../Job.ts"
import { type Bounds, type Packed, pack, type Side } from "../kernels/pack.ts"
import { tileColumns } from "../kernels/tile.ts"
import type { Condition } from "../Program.ts"
import { attend } from "./attend.ts"
import { combine } from "./combine.ts"
import { decode, partBytes } from "./decode.ts"
import { double } from "./double.ts"
import { turns } from "./hidden.ts"
import * as Lines from "./lines.ts"
import * as Problem from "./Problem.ts"
import * as Range from "./range.ts"
import { mostOfFew, type Tiles } from "./Tiles.ts"
import * as Values from "./values.ts"

/** The kernels of a body around `flash_attention`. Lengths choose: few rows read keys where they lie, which are divided; many pack them first. */
export const flash = (job: Job, tiles: Tiles): ReadonlyArray<Lowered> => {
  const problem = Problem.of(job)
  if (problem.node.operands[0]?.type.dtype === "f64") return [double(problem)]
  const rows = Dim.mul(problem.T, problem.group)
  const few: Condition = { _tag: "size", left: rows, relation: "<=", right: tiles.rows }
  const known = Dim.value(rows)
  const isWhole = [problem.E, ...problem.terms.map(({ D }) => D)].every((d) => Dim.value(d) !== undefined)
  const mayBeFew = isWhole && (known === undefined || known <= tiles.rows)
  const divided = mayBeFew ? ofFew(problem, tiles) : []
  if (mayBeFew && known !== undefined) return divided
  const packed = ofMany(problem, tiles)
  if (!mayBeFew) return packed
  const when = (condition: Condition, all: ReadonlyArray<Lowered>) =>
    all.map((lowered) => ({ ...lowered, when: [condition, ...(lowered.when ?? [])] }))
  return [...when(few, divided), ...when({ ...few, relation: ">" }, packed)]
}

/** The keys of a head are divided among items; what these come to is put together. */
const ofFew = (problem: Problem.Problem, most: Tiles): ReadonlyArray<Lowered> => {
  const tiles = { ...most, keys: keysOf(problem, most) }
  const { B, Hkv, S } = problem
  const perKey = Math.ceil((tiles.rows * turns(problem) * partBytes(problem)) / tiles.split)
  const parts = problem.job.scratch(
    Dim.product([B, Hkv, Dim.add(S, Dim.constant(tiles.split - 1)), Dim.constant(perKey)])
  )
  const some: Condition = { _tag: "size", left: Dim.mul(problem.T, problem.group), relation: ">", right: 0 }
  return [{ ...decode(problem, parts, tiles), when: [some] }, combine(problem, parts, tiles)]
}

/** What is read many times is packed, then blocks of queries pass over the keys they see. */
const ofMany = (problem: Problem.Problem, tiles: Tiles): ReadonlyArray<Lowered> => {
  const read = Range.ofData(problem)
  const packed = (side: Side, axis: Bounds["axis"]): Packed => {
    const isOwn = Dim.equals(Shape.size(side.batch), Dim.mul(problem.B, problem.Hkv))
    return pack(problem.job, side, tileColumns, read && isOwn ? { axis, of: read } : undefined)
  }
  const keys = problem.terms.map(({ k }) => packed(k, "free"))
  const lying = Values.inPlace(problem)
  const v = !Problem.hasValues(problem) || lying !== undefined ? undefined : packed(problem.v, "depth")
  return [
    ...keys.map(({ lowered }) => lowered),
    ...(v === undefined ? [] : [v.lowered]),
    attend(
      problem,
      keys.map(({ ref }) => ref),
      lying ?? (v && Values.packed(v.ref)),
      tiles
    )
  ]
}

/** Keys of a tile, so few that one lies in a page: then it is read there. */
const keysOf = ({ job, node }: Problem.Problem, tiles: Tiles): number => {
  const keys = Math.min(tiles.keys, mostOfFew)
  const { terms, v } = parts(node.operands, node.attrs)
  const runs = [...terms.map(({ k }) => Lines.of(job, k, 4)), Lines.of(job, v, tileColumns)].flatMap(
    (lines) => {
      const run = lines?.run === undefined ? undefined : Dim.value(lines.run)
      return run !== undefined && run % tileColumns === 0 && keys % run === 0 ? [run] : []
    }
  )
  return Math.min(keys, ...runs)
}
