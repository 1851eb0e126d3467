import { haveQuads } from "../../../ir/Limits.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import * as Size from "../Size.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { compute } from "../wgsl/scalar.ts"
import { combine } from "./combine.ts"
import {
  accumulators,
  type Contraction,
  divides,
  multiplyAdd,
  placeOf,
  scheduleOf,
  steps,
  storeBlock,
  tileOf
} from "./contraction.ts"
import { type Reader, reader, usable } from "./matmulRegisters.ts"
import type { Extent } from "./Part.ts"
import { vectorsOf } from "./vectors.ts"

/**
 * Of few rows, each by itself: every element of rhs is read once a row, so what counts is that all threads read. Neighbours share a sum: they take turns along the
 * depth, four elements at a time where these lie side by side, and add up what they have.
 */
export const matmulVector = (emitter: Emitter, job: Job, c: Contraction, workgroup: string): Extent => {
  const type = compute(c.lhs.node.type.dtype)
  const { vector } = scheduleOf(job, c)
  const [columns, depth] = [Shape.size(c.columns), Shape.size(c.depth)]
  const rights = c.rhs.map((rhs) => usable(vectorsOf(emitter, job, rhs), vector.columns))
  // Columns that lie side by side are read together by neighbours, of which few are left to share a sum.
  const share = rights.some((right) => right?.along === "free") ? Math.min(4, vector.share) : vector.share
  const perGroup = vector.threads / share
  // A workgroup that is a quad needs no order of threads.
  const quads = share === 4 && vector.threads === 4 && job.limits.kind === "cpu" && haveQuads(job.limits)
  const own = `${workgroup} * ${perGroup} + i32(lix)${share === 1 ? "" : ` / ${share}`}`
  const number = emitter.constant(perGroup === 1 ? workgroup : own)
  // Threads that others of their workgroup wait for do not leave.
  const tile = tileOf(emitter, number, c, 1, vector.columns, { stay: perGroup > 1 && share > 1 })
  const lane = share === 1 ? "0" : emitter.constant(quads ? "i32(sgi & 3u)" : `i32(lix) % ${share}`)
  const place = placeOf(job, c, emitter, tile.batch)
  const lhs = reader(
    emitter,
    usable(vectorsOf(emitter, job, c.lhs), 1),
    place.entry,
    { first: tile.firstRow, size: Shape.size(c.rows), per: 1 },
    place.lhs
  )
  const across = { first: tile.firstColumn, size: columns, per: vector.columns }
  const rhs = rights.map((right, n) =>
    reader(emitter, right, place.entry, across, (i, k) => place.rhs[n]?.(k, i) as string)
  )
  const step = [lhs, ...rhs].some((r) => r.along === "depth") ? 4 : 1
  const products = rhs.map(() => accumulators(emitter, type, 1, vector.columns)[0] as ReadonlyArray<string>)
  emitter.loop(emitter.mul(lane, String(step)), emitter.dim(depth), String(step * share), (k) => {
    const a = lhs.read(k, step)
    products.forEach((sums, n) => {
      const b = (rhs[n] as Reader).read(k, step)
      for (const at of steps(step)) {
        sums.forEach((sum, j) => {
          multiplyAdd(emitter, type, sum, a.at(0, at), b.at(j, at))
        })
      }
    })
  })
  const totals = combine(
    emitter,
    { threads: vector.threads, share, quads },
    lane,
    products.flat().map((value) => ({ type, value })),
    (mine, other) => mine.map((m, i) => `${m} + ${other[i]}`)
  )
  const store = () =>
    storeBlock(
      place,
      type,
      products.map((_, n) => [totals.slice(n * vector.columns, (n + 1) * vector.columns)]),
      {
        rows: { first: tile.firstRow, size: Shape.size(c.rows), inside: true },
        columns: { ...across, inside: divides(vector.columns, columns) }
      },
      { first: lane, of: share }
    )
  if (tile.inside === undefined) store()
  else emitter.branch(tile.inside, store)
  return { threads: vector.threads, workgroups: Size.ceilDiv(tile.tiles, perGroup) }
}
