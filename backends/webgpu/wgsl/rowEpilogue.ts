import * as Dim from "../../../ir/Dim.ts"
import { updateOf } from "../../../ir/KernelBody.ts"
import * as RowAxes from "../../../ir/rowAxes.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import * as Body from "./body.ts"
import type { Emitter } from "./Emitter.ts"
import { placed } from "./epilogue.ts"
import { store, storePair, storesPairs } from "./storage.ts"

/** What follows a normalisation row by row: each result is computed of any elements of its row. */
export interface RowEpilogue {
  /** Results of a row, or pairs of them that are words of the result. */
  readonly count: Dim.Dim
  /** Computes and stores those of a number. `row` has an index for each axis of the anchor, of which the row's own means nothing. */
  readonly store: (
    row: ReadonlyArray<string>,
    number: string,
    element: (indices: ReadonlyArray<string>) => string
  ) => void
}

export const isRowByRow = (job: Pick<Job, "body">): boolean => RowAxes.ofBody(job.body) !== undefined

export const make = (emitter: Emitter, job: Job): RowEpilogue => {
  const found = RowAxes.ofBody(job.body)
  const { anchor } = job
  if (found === undefined || anchor === undefined) throw new Error("the body is not computed row by row")
  const { end, axes } = found
  const { shape, dtype } = end.type
  const inner = shape.flatMap((_, axis) => (axes[axis] === undefined ? [axis] : []))
  const sizes = inner.map((axis) => shape[axis] as Dim.Dim)
  const size = Shape.size(sizes)
  const last = shape.length - 1
  const update = updateOf(job.body)
  // Along this axis neighbours need not stay neighbours.
  const written = update && (update.op === "scatter" ? 0 : update.attrs.axis)
  const pairs =
    storesPairs(emitter.module, dtype) &&
    inner.at(-1) === last &&
    written !== last &&
    Dim.divideExact(shape[last] as Dim.Dim, Dim.constant(2)) !== undefined
  const make = (): Body.Body => Body.make(emitter, job.body)
  return {
    count: pairs ? (Dim.divideExact(size, Dim.constant(2)) as Dim.Dim) : size,
    store: (row, number, element) => {
      const resultAt = (column: string) => {
        const own = emitter.delinearize(column, sizes)
        const indices = axes.map(
          (of, axis) => (of === undefined ? own[inner.indexOf(axis)] : row[of]) as string
        )
        const body = make()
        body.give(anchor, element)
        return { indices, value: body.at(Body.stored(end), indices) }
      }
      const first = pairs ? emitter.mul(number, "2") : number
      const even = resultAt(first)
      const odd = pairs ? resultAt(emitter.add(first, "1")) : undefined
      placed(emitter, job, make, even.indices, (at) => {
        if (odd === undefined) store(emitter, job.result, dtype, at, even.value)
        else storePair(emitter, job.result, dtype, emitter.bind(`${at} / 2`), [even.value, odd.value])
      })
    }
  }
}
