import * as Dim from "../../../ir/Dim.ts"
import { type Node, specOf } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Body from "../wgsl/body.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import * as Epilogue from "../wgsl/epilogue.ts"
import * as RowEpilogue from "../wgsl/rowEpilogue.ts"
import { compute } from "../wgsl/scalar.ts"
import { combine } from "./combine.ts"
import type { Extent } from "./Part.ts"
import { type RowAnchor, type RowOp, rowOps } from "./rowOps.ts"

/**
 * Kernels that read whole rows: reductions and normalisations over any axes, of any length. A row belongs to one workgroup, which
 * combines its threads' parts in workgroup memory, or to one thread, which needs no barrier.
 */
export const rows = (emitter: Emitter, job: Job, workgroup: string): Extent => {
  const anchor = job.anchor as RowAnchor
  const x = anchor.operands[0] as Node
  const axes = reducedAxes(anchor)
  const kept = x.type.shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]))
  const sizes = (list: ReadonlyArray<number>): Shape.Shape =>
    list.map((axis) => x.type.shape[axis] as Dim.Dim)
  const length = Shape.size(sizes(axes))
  const count = Shape.size(sizes(kept))

  const body = Body.make(emitter, job.body)
  const direct = Epilogue.isDirect(job)
    ? Epilogue.make(emitter, job, () => Body.make(emitter, job.body))
    : undefined
  const byRow = direct === undefined ? RowEpilogue.make(emitter, job) : undefined
  const threads = rowThreads(job, length, count)
  const perGroup = threads === 1 ? (job.limits.kind === "cpu" ? 32 : 64) : 1

  const row = emitter.constant(threads === 1 ? `${workgroup} * ${perGroup} + i32(lix)` : workgroup)
  emitter.line(`if (${row} >= ${emitter.dim(count)}) { return; }`)
  const lane = threads === 1 ? "0" : emitter.constant("i32(lix)")
  const rowIndices = emitter.delinearize(row, sizes(kept))

  const indicesAt = (column: string): ReadonlyArray<string> => {
    const inner = emitter.delinearize(column, sizes(axes))
    return x.type.shape.map((_, axis) =>
      axes.includes(axis) ? (inner[axes.indexOf(axis)] as string) : (rowIndices[kept.indexOf(axis)] as string)
    )
  }

  const inPairs = direct?.storePair !== undefined && axes.length === 1 && axes[0] === x.type.shape.length - 1
  const held = heldColumns(emitter, anchor, Dim.value(length), threads, lane, inPairs ? 2 : 1)
  const markPair = ([even, odd]: readonly [string, string]): void =>
    emitter.markPair(
      emitter.linearize(indicesAt(even), x.type.shape),
      emitter.linearize(indicesAt(odd), x.type.shape)
    )
  /** Elements that this thread has read before all else. */
  const registers = new Map(
    held?.flatMap(({ columns }) => {
      if (inPairs) markPair(columns as readonly [string, string])
      return columns.map((column) => [column, body.at(x, indicesAt(column))] as const)
    })
  )

  const columns = (inside: (column: string) => void): void => {
    if (held === undefined) emitter.loop(lane, emitter.dim(length), String(threads), inside)
    else within(emitter, held, (own) => own.forEach(inside))
  }

  /** Words of two 16-bit results that one thread writes whole, where columns lie side by side. */
  const storePairs = (value: (column: string) => string): void => {
    const put = (both: readonly [string, string]): void => {
      const [even, odd] = both.map((column) => ({ indices: indicesAt(column), values: [value(column)] }))
      if (even !== undefined && odd !== undefined) direct?.storePair?.(even, odd)
    }
    if (held !== undefined) {
      within(emitter, held, (own) => put(own as readonly [string, string]))
      return
    }
    const pairs = emitter.dim(Dim.divideExact(length, Dim.constant(2)) as Dim.Dim)
    emitter.loop(lane, pairs, String(threads), (pair) => {
      const both = [emitter.bind(`${pair} * 2`), emitter.bind(`${pair} * 2 + 1`)] as const
      markPair(both)
      put(both)
    })
  }

  /** Results that each need several elements of the row. */
  const storeRows = ({ count, store }: RowEpilogue.RowEpilogue, value: (column: string) => string): void => {
    const own = indicesAt("0")
    const at = axes[0] as number
    emitter.loop(lane, emitter.dim(count), String(threads), (number) =>
      store(own, number, (indices) => value(indices[at] as string))
    )
  }

  const context: RowOp = {
    emitter,
    type: compute(x.type.dtype),
    length: emitter.dim(length),
    threads,
    lane,
    columns,
    element: (column) => registers.get(column) ?? body.at(x, indicesAt(column)),
    combine: (parts, merge) => combine(emitter, { threads, share: threads }, lane, parts, merge),
    storeRow: (value) => {
      const put = () => direct?.store(rowIndices, value)
      if (threads === 1) put()
      else emitter.branch(`${lane} == 0`, put)
    },
    storeElement: (column, value) => direct?.store(indicesAt(column), value),
    storeColumns:
      byRow !== undefined
        ? (value) => storeRows(byRow, value)
        : inPairs
          ? storePairs
          : (value) => columns((column) => direct?.store(indicesAt(column), value(column)))
  }
  rowOps[anchor.op](context, anchor as never)
  return { threads: threads === 1 ? perGroup : threads, workgroups: Size.ceilDiv(count, perGroup) }
}

/** Columns of a thread, one or a pair, which lie in the row if `inside` holds. */
interface Held {
  readonly columns: ReadonlyArray<string>
  readonly inside: string | undefined
}

/** Most elements that a thread keeps in registers. */
const mostHeld = 32

/**
 * The columns of a thread where it can hold them all: a normalisation, which looks at a row several times, then reads it once. Past the end the last
 * columns are read again, and nothing comes of them.
 */
const heldColumns = (
  emitter: Emitter,
  anchor: RowAnchor,
  length: number | undefined,
  threads: number,
  lane: string,
  per: 1 | 2
): ReadonlyArray<Held> | undefined => {
  const returns = specOf(anchor.op).family === "normalise"
  if (!returns || length === undefined || length === 0 || length > mostHeld * threads) return undefined
  const units = length / per
  return Array.from({ length: Math.ceil(units / threads) }, (_, i) => {
    const unit = emitter.add(lane, String(i * threads))
    const whole = (i + 1) * threads <= units
    const own = whole ? unit : emitter.bind(`min(${unit}, ${units - 1})`)
    return {
      columns: per === 1 ? [own] : [emitter.mul(own, "2"), emitter.add(emitter.mul(own, "2"), "1")],
      inside: whole ? undefined : `${unit} < ${units}`
    }
  })
}

const within = (
  emitter: Emitter,
  held: ReadonlyArray<Held>,
  each: (columns: ReadonlyArray<string>) => void
): void => {
  for (const { columns, inside } of held) {
    if (inside === undefined) each(columns)
    else emitter.branch(inside, () => each(columns))
  }
}

const reducedAxes = (anchor: RowAnchor): ReadonlyArray<number> =>
  // In ascending order, so that equal graphs give equal text and memory is read forwards.
  "axes" in anchor.attrs ? [...anchor.attrs.axes].sort((a, b) => a - b) : [anchor.attrs.axis]

/** Threads that share a row: a power of two. */
const rowThreads = (job: Job, length: Dim.Dim, count: Dim.Dim): number => {
  if (job.schedule?.kind === "rows") return job.schedule.threads
  // Few rows leave the cores of a processor idle unless several threads share each.
  if (job.limits.kind === "cpu") return (Dim.value(count) ?? 64) < 16 ? 16 : 1
  const known = Dim.value(length)
  if (known !== undefined && known <= 32) return 1
  return Math.min(
    known !== undefined && known <= 256 ? 64 : 256,
    job.limits.maxComputeInvocationsPerWorkgroup
  )
}
