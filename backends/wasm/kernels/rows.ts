import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, op } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { keep, keepFirst, kept as whatIsKept } from "../emit/real.ts"
import { compute as computeType } from "../emit/scalar.ts"
import { bytesOf } from "../emit/storage.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"
import { type Column, monoidOf, type RowAnchor, type RowOp, rowOps } from "./rowOps.ts"

/** Rows of an item where their elements lie next to each other: those of a line of the cache. */
const neighbours = 16

/**
 * Kernels that read whole rows: reductions and normalisations over any axes, of any length. What an op needs of the elements for a
 * second pass is kept in memory of one row, so that producers are computed once. Where the last axis is reduced a vector is columns of a row,
 * and an item is a row. Where it is not, neighbouring elements belong to neighbouring rows: then a vector is one column of them.
 */
export const rows = (job: Job): Lowered => {
  const anchor = job.anchor as RowAnchor
  const x = anchor.operands[0] as Node
  const axes = reducedAxes(anchor)
  const { shape } = x.type
  const last = shape.length - 1
  const alongRow = axes.includes(last) || (Dim.value(shape[last] as Dim.Dim) ?? 4) < 4
  const kept = shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]))
  const sizes = (list: ReadonlyArray<number>): Shape.Shape => list.map((axis) => shape[axis] as Dim.Dim)
  const length = Shape.size(sizes(axes))
  const inner = sizes(axes).at(-1) ?? Dim.one

  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const epilogue = Epilogue.make(frame)
  let scratch: Expr<"i32"> | undefined
  const bytes = bytesOf(x.type.dtype) === 8 ? 8 : 4
  // A vector for each element is more than enough along a row, and a polynomial, which a quarter of a length is not.
  const memory = (): Expr<"i32"> => (scratch ??= frame.local(Dim.mul(length, Dim.constant(bytes / 4))))
  const place = (number: Value.Value): Expr<"i32"> =>
    e.add(memory(), e.mul(Value.first(e, number), i32(alongRow ? bytes : 4 * bytes)))

  /** The index tuple of the operand. */
  const indicesOf = (
    row: ReadonlyArray<Value.Value>,
    column: ReadonlyArray<Value.Value>
  ): ReadonlyArray<Value.Value> =>
    shape.map((_, axis) =>
      axes.includes(axis)
        ? (column[axes.indexOf(axis)] as Value.Value)
        : (row[kept.indexOf(axis)] as Value.Value)
    )

  /** Computes a row, or the rows of a vector. */
  const compute = (rowIndices: ReadonlyArray<Value.Value>): void => {
    type Visit = (indices: ReadonlyArray<Value.Value>, number: Value.Value) => void
    const visitAt = (own: ReadonlyArray<Value.Value>, number: Value.Value, each: Visit): void =>
      each(indicesOf(rowIndices, own), number)
    /** Visits the columns: the index tuple of the operand, and the column's number. */
    const visit = (each: Visit, width: 1 | 4): void => {
      if (!alongRow) {
        e.loop(i32(0), e.dim(length), 1, (n) => {
          const number = Value.uniform(n)
          visitAt(Value.delinearize(e, number, sizes(axes)), number, each)
        })
        return
      }
      const over = (outer: ReadonlyArray<Value.Value>, base: Expr<"i32">): void => {
        const inside = (index: Expr<"i32">): void => {
          const along = Value.along(e, index, inner)
          visitAt([...outer, along], Value.add(e, Value.uniform(base), along), each)
        }
        if (width === 1) e.loop(i32(0), e.dim(inner), 1, (index) => e.at(1, () => inside(index)))
        else Frame.vectors(e, inner, Dim.value(inner), inside)
      }
      if (axes.length <= 1) {
        over([], i32(0))
        return
      }
      const outer = sizes(axes.slice(0, -1))
      e.loop(i32(0), e.dim(Shape.size(outer)), 1, (n) =>
        over(Value.delinearize(e, Value.uniform(n), outer), e.mul(n, e.dim(inner)))
      )
    }

    const columnOf = (indices: ReadonlyArray<Value.Value>, number: Value.Value): Column => ({
      get number() {
        return Value.toVector(e, number)
      },
      keep: (value) => e.line((e.width === 4 || !alongRow ? keep : keepFirst)(place(number), value)),
      store: (value) => epilogue(indices, Value.ofRegister(value))
    })
    const visiting =
      (width: 1 | 4): RowOp["columns"] =>
      (inside) =>
        visit((indices, number) => {
          inside(Value.toRegister(e, body.at(x, indices)), columnOf(indices, number))
        }, width)

    const context: RowOp = {
      e,
      alongRow,
      type: computeType(x.type.dtype),
      length: e.dim(length),
      columns: visiting(4),
      oneByOne: visiting(1),
      again: (inside) =>
        visit((indices, number) => {
          inside(e.now(whatIsKept(bytes, place(number))), columnOf(indices, number))
        }, 4),
      storeRow: (value) => {
        const put = (): void => epilogue(rowIndices, Value.ofRegister(value))
        if (alongRow) e.at(1, put)
        else put()
      }
    }
    rowOps[anchor.op](context, anchor as never)
  }

  if (alongRow) {
    e.loop(frame.begin, frame.end, 1, (row) => compute(Value.delinearize(e, Value.uniform(row), sizes(kept))))
    return frame.finish(anchor.op, { times: Dim.one, of: Shape.size(sizes(kept)), per: 1 })
  }
  const [outer, side] = [sizes(kept.slice(0, -1)), shape[last] as Dim.Dim]
  const blocks = e.div(e.add(e.dim(side), i32(neighbours - 1)), i32(neighbours))
  e.loop(frame.begin, frame.end, 1, (item) => {
    const entry = e.div(item, blocks)
    const first = e.mul(e.sub(item, e.mul(entry, blocks)), i32(neighbours))
    const stop = e.min(e.add(first, i32(neighbours)), e.dim(side))
    const whole = e.bind(op("i32.and", stop, i32(-4)))
    const before = Value.delinearize(e, Value.uniform(entry), outer)
    const some = (row: Expr<"i32">): void => compute([...before, Value.along(e, row, side)])
    const monoid = monoidOf(anchor.op, computeType(x.type.dtype))
    if (monoid !== undefined) {
      /** All of them at once: a line of the cache is read once. */
      const line = (): void => {
        const vectors = [0, 4, 8, 12].map((n) => [...before, Value.along(e, e.add(first, i32(n)), side)])
        const totals = vectors.map(() => e.variable(monoid.neutral))
        e.loop(i32(0), e.dim(length), 1, (n) => {
          const own = Value.delinearize(e, Value.uniform(n), sizes(axes))
          totals.forEach((total, v) => {
            const indices = indicesOf(vectors[v] as ReadonlyArray<Value.Value>, own)
            total.set(monoid.merge(total.value, Value.toRegister(e, body.at(x, indices))))
          })
        })
        totals.forEach((total, v) => {
          epilogue(vectors[v] as ReadonlyArray<Value.Value>, Value.ofRegister(e.now(total.value)))
        })
      }
      e.branch(e.bind(op("i32.eq", e.sub(stop, first), i32(neighbours))), line, () => {
        e.loop(first, whole, 4, (row) => e.at(4, () => some(row)))
        e.loop(whole, stop, 1, (row) => e.at(1, () => some(row)))
      })
      return
    }
    e.loop(first, whole, 4, (row) => e.at(4, () => some(row)))
    e.loop(whole, stop, 1, (row) => e.at(1, () => some(row)))
  })
  return frame.finish(anchor.op, { times: Shape.size(outer), of: side, per: neighbours })
}

const reducedAxes = (anchor: RowAnchor): ReadonlyArray<number> =>
  // In ascending order, so that memory is read forwards.
  "axes" in anchor.attrs ? [...anchor.attrs.axes].sort((a, b) => a - b) : [anchor.attrs.axis]
