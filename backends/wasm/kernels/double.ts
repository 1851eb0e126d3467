import * as Dim from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import { splatF64 } from "../assembler/doubles.ts"
import { type Expr, i32, op } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import type { Emitter } from "../emit/Emitter.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { madd } from "../emit/mathF64.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"
import type { Side } from "./pack.ts"

type I = Expr<"i32">

/** Columns of an item, whose sums are kept in registers as far as these go. */
const blockColumns = 32

/**
 * Products of doubles, which are rare: nothing is packed. An item is a row times some columns, and the next one has the same columns, which stay in
 * the nearer caches.
 */
export const double = (job: Job, lhs: Side, rhs: Side): Lowered => {
  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const epilogue = Epilogue.make(frame)
  const [rows, columns, depth] = [lhs.free, rhs.free, lhs.depth].map(Shape.size) as [
    Dim.Dim,
    Dim.Dim,
    Dim.Dim
  ]
  const [rowCount, columnCount] = [e.dim(rows), e.dim(columns)]
  const blocks = e.div(e.add(columnCount, i32(blockColumns - 1)), i32(blockColumns))

  e.loop(frame.begin, frame.end, 1, (item) => {
    const block = e.div(item, rowCount)
    const row = Value.delinearize(e, Value.uniform(e.sub(item, e.mul(block, rowCount))), lhs.free)
    const entry = e.div(block, blocks)
    const batch = Value.delinearize(e, Value.uniform(entry), lhs.batch)
    const first = e.mul(e.sub(block, e.mul(entry, blocks)), i32(blockColumns))
    const stop = e.min(e.add(first, i32(blockColumns)), columnCount)
    /** Some vectors of neighbouring columns, all depth steps. */
    const together = (starts: ReadonlyArray<I>): void => {
      const all = starts.map((c) => {
        const free = Value.delinearize(e, Value.along(e, c, columns), rhs.free)
        return { free, sum: e.variable<"v256">(splatF64(0)) }
      })
      e.loop(i32(0), e.dim(depth), 1, (k) => {
        const step = Value.delinearize(e, Value.uniform(k), lhs.depth)
        const element = Value.toDoubles(lhs.at(body, e, batch, row, step))
        for (const { free, sum } of all) {
          const own = Value.toDoubles(rhs.at(body, e, batch, free, step))
          sum.set(madd(e, element, own, sum.value))
        }
      })
      for (const { free, sum } of all) epilogue([...batch, ...row, ...free], Value.doubles(e.now(sum.value)))
    }
    inFours(e, first, stop, blockColumns, together)
  })
  const times = Dim.mul(Shape.size(lhs.batch), rows)
  return frame.finish("matmul_f64", { times, of: columns, per: blockColumns })
}

/** Columns from `first` on, a multiple of a block: those of whole blocks together, others four at a time and then one by one. */
export const inFours = (
  e: Emitter,
  first: I,
  stop: I,
  block: number,
  together: (starts: ReadonlyArray<I>) => void
): void => {
  const [most, whole] = [-block, -4].map((n) => e.bind(op("i32.and", stop, i32(n)))) as [I, I]
  const fours = (start: I): ReadonlyArray<I> =>
    Array.from({ length: block / 4 }, (_, n) => e.add(start, i32(4 * n)))
  e.loop(first, most, block, (start) => e.at(4, () => together(fours(start))))
  if (block > 4) e.loop(most, whole, 4, (start) => e.at(4, () => together([start])))
  e.loop(whole, stop, 1, (start) => e.at(1, () => together([start])))
}
