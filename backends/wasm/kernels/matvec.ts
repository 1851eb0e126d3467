import * as Dim from "../../../ir/Dim.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, op } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import type { Emitter, Variable } from "../emit/Emitter.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"
import { type Arithmetic, arithmetic } from "./arithmetic.ts"
import type { Side } from "./pack.ts"
import { across, active } from "./rowOps.ts"

type R = Value.Register

/** Columns of an item. */
const blockColumns = 16

/** Sums that are added to at once: memory is read as one stream, and no addition waits for the one before. */
const mostSums = 8

/** Rows that share what is read of a column, where there are so many. */
const together = 4

/** Calls of at most so many rows come here. */
export const mostRows = 16

/** Products of few rows with a matrix of which each column lies along the depth: it is read where it lies, once for each row. */
export const matvec = (job: Job, lhs: Side, rhs: Side): Lowered => {
  const anchor = job.anchor as NodeOf<"dot">
  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const epilogue = Epilogue.make(frame)
  const [rows, columns, depth] = [lhs.free, rhs.free, lhs.depth].map(Shape.size) as [
    Dim.Dim,
    Dim.Dim,
    Dim.Dim
  ]
  const own = arithmetic(anchor.type.dtype)
  const blocks = e.div(e.add(e.dim(columns), i32(blockColumns - 1)), i32(blockColumns))

  e.loop(frame.begin, frame.end, 1, (item) => {
    const entry = e.div(item, blocks)
    const first = e.mul(e.sub(item, e.mul(entry, blocks)), i32(blockColumns))
    const batch = Value.delinearize(e, Value.uniform(entry), lhs.batch)
    const stop = e.min(e.add(first, i32(blockColumns)), e.dim(columns))

    const elements = (side: Side, free: ReadonlyArray<Value.Value>, k: Value.Value): R =>
      Value.toRegister(e, side.at(body, e, batch, free, Value.delinearize(e, k, side.depth)))
    /** The columns of the item times so many rows. */
    const ofRows = (row: Expr<"i32">, count: number): void => {
      const places = Array.from({ length: count }, (_, n) =>
        Value.delinearize(e, Value.uniform(e.add(row, i32(n))), lhs.free)
      )
      e.loop(first, stop, 1, (column) => {
        const free = Value.delinearize(e, Value.uniform(column), rhs.free)
        const left = places.map((place) => (k: Value.Value) => elements(lhs, place, k))
        const sums = sumsAlong(e, depth, own, left, (k) => elements(rhs, free, k))
        for (const [r, place] of places.entries()) {
          const value = Value.ofRegister(across(e, sums[r] as R, own.plus))
          e.at(1, () => epilogue([...batch, ...place, ...free], value))
        }
      })
    }
    const known = Dim.value(rows)
    const shared =
      known === undefined
        ? e.bind(op("i32.and", e.dim(rows), i32(-together)))
        : i32(known - (known % together))
    e.loop(i32(0), shared, together, (row) => ofRows(row, together))
    e.loop(shared, e.dim(rows), 1, (row) => ofRows(row, 1))
  })
  return frame.finish("matvec", { times: Shape.size(lhs.batch), of: columns, per: blockColumns }, "stream")
}

/** Elements at some steps of the depth. */
type Elements = (k: Value.Value) => R

/** The products of some rows with a column, added up in vectors along the depth: for each row a vector, whose lanes are still to be added. */
export const sumsAlong = (
  e: Emitter,
  depth: Dim.Dim,
  { bytes, zero, multiplyAdd, plus }: Arithmetic,
  rows: ReadonlyArray<Elements>,
  column: Elements
): ReadonlyArray<R> => {
  // A double takes two places.
  const vectors = (mostSums * 4) / bytes / rows.length
  const sums = rows.map(() => Array.from({ length: vectors }, () => e.variable(zero)))
  const add = (n: number, k: Expr<"i32">): void => {
    const at = Value.along(e, k, depth)
    const own = column(at)
    for (const [r, row] of rows.entries()) {
      const sum = (sums[r] as ReadonlyArray<Variable<R["type"]>>)[n] as Variable<R["type"]>
      sum.set(active(e, e.bind(multiplyAdd(e, row(at), own, sum.value)), sum.value))
    }
  }
  const length = e.dim(depth)
  const [rounds, whole] = [-4 * vectors, -4].map((n) => e.bind(op("i32.and", length, i32(n)))) as [
    Expr<"i32">,
    Expr<"i32">
  ]
  e.loop(i32(0), rounds, 4 * vectors, (k) =>
    e.at(4, () => {
      for (let n = 0; n < vectors; n++) add(n, e.add(k, i32(4 * n)))
    })
  )
  e.loop(rounds, whole, 4, (k) => e.at(4, () => add(0, k)))
  e.loop(whole, length, 1, (k) => e.at(1, () => add(0, k)))
  return sums.map((own) => own.map((sum) => sum.value).reduce((a, b) => e.now(plus(a, b))))
}

/** Whether neighbours along the contracted axis of the right side lie side by side, so far as views without arithmetic tell. */
export const isAlongDepth = ({ operands, attrs }: NodeOf<"dot">): boolean => {
  let node = operands[1] as Node
  while (node.op === "cast") node = node.operands[0] as Node
  const last = node.type.shape.length - 1
  return attrs.rhsContract.includes(node.op === "transpose" ? node.attrs.perm.indexOf(last) : last)
}
