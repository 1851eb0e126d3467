import type { ContractionSum } from "../../../ir/ContractionSum.ts"
import * as Dim from "../../../ir/Dim.ts"
import * as Graph from "../../../ir/Graph.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { splatF64 } from "../assembler/doubles.ts"
import { type Expr, i32, load } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { madd } from "../emit/mathF64.ts"
import { moved } from "../emit/moved.ts"
import { keep, keepFirst, kept as whatIsKept } from "../emit/real.ts"
import { compute } from "../emit/scalar.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"
import { inFours } from "./double.ts"
import { eachTile, overTile, placeIn, productOf, sideOf } from "./matmul.ts"
import { pack, type Side } from "./pack.ts"
import { monoidOf } from "./rowOps.ts"
import { tileColumns, tileRows } from "./tile.ts"

type I = Expr<"i32">
type R = Value.Register
type Indices = ReadonlyArray<Value.Value>

/** Columns of an item of doubles, whose sums are kept in registers as far as these go. */
const blockColumns = 16

/** Whether one kernel computes the sum: what lies between contraction and sum, and what follows the sum, keeps elements one to one. */
export const isOneKernel = ({ body }: Pick<Job, "body">, { dot, sum }: ContractionSum): boolean => {
  const before = Graph.assemble([{ name: "x", node: sum.operands[0] as Node }], body.inputs)
  return Epilogue.isDirect({ body: before, anchor: dot }) && Epilogue.isDirect({ body, anchor: sum })
}

/**
 * The sum over entries of a function of each entry's contraction: the products of a tile are computed for one entry after the other, and the
 * function of them is added to totals.
 */
export const contractionSum = (job: Job, found: ContractionSum): ReadonlyArray<Lowered> => {
  const { dot } = found
  const [left, right] = dot.operands as readonly [Node, Node]
  const { lhsBatch, lhsContract, rhsBatch, rhsContract } = dot.attrs
  const taken = [...lhsBatch, ...lhsContract]
  const free = left.type.shape.flatMap((_, axis) => (taken.includes(axis) ? [] : [axis]))
  // All free axes of lhs but the last are entries, too.
  const lhs = sideOf(left, [...lhsBatch, ...free.slice(0, -1)], lhsContract)
  const rhs = sideOf(right, rhsBatch, rhsContract)
  return dot.type.dtype === "f64" ? [ofDoubles(job, found, lhs, rhs)] : packed(job, found, lhs, rhs)
}

const packed = (job: Job, found: ContractionSum, lhs: Side, rhs: Side): ReadonlyArray<Lowered> => {
  const [a, b] = [pack(job, lhs, tileRows), pack(job, rhs, tileColumns)]
  const frame = Frame.open(job)
  const { e } = frame
  const sum = sumOf(frame, found)
  const product = productOf(frame, found.dot, lhs, rhs, a, b)
  const bytes = Value.isDoubles(sum.neutral) ? 8 : 4
  const vectors = (tileRows * tileColumns * bytes) / 16
  // The last element is read as a vector, too.
  const totals = frame.local(Dim.constant(vectors + bytes / 4))
  const items = eachTile(frame, Shape.size(sum.kept), lhs.free, rhs.free, (tile) => {
    for (let v = 0; v < vectors; v += bytes / 4) e.line(keep(totals, sum.neutral, 16 * v))
    const at = (r: I, c: I): I => placeIn(e, totals, r, c, bytes)
    sum.each(tile.entry, (entry, term) => {
      const [leftEntry, rightEntry] = [lhs, rhs].map(({ batch }) =>
        Value.first(e, Value.linearize(e, entry.slice(0, batch.length), batch))
      ) as [I, I]
      const result = product(tile, leftEntry, rightEntry)
      overTile(e, tile, (r, c) => {
        const value = e.now(load("v128.load", placeIn(e, result, r, c, 4)))
        const total = e.now(whatIsKept(bytes, at(r, c)))
        const next = sum.merge(total, term(tile.row(r), tile.column(c), Value.vector(value)))
        e.line(e.width === 4 ? keep(at(r, c), next) : keepFirst(at(r, c), next))
      })
    })
    overTile(e, tile, (r, c) => {
      sum.store(tile.entry, tile.row(r), tile.column(c), e.now(whatIsKept(bytes, at(r, c))))
    })
  })
  return [a.lowered, b.lowered, frame.finish("matmul_sum", items)]
}

/** As `double`: nothing is packed, and an item is a row times some columns. */
const ofDoubles = (job: Job, found: ContractionSum, lhs: Side, rhs: Side): Lowered => {
  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const sum = sumOf(frame, found)
  const [rows, columns] = [Shape.size(lhs.free), Shape.size(rhs.free)]
  const [rowCount, columnCount] = [e.dim(rows), e.dim(columns)]
  const blocks = e.div(e.add(columnCount, i32(blockColumns - 1)), i32(blockColumns))

  e.loop(frame.begin, frame.end, 1, (item) => {
    const block = e.div(item, rowCount)
    const row = Value.delinearize(e, Value.uniform(e.sub(item, e.mul(block, rowCount))), lhs.free)
    const outer = e.div(block, blocks)
    const first = e.mul(e.sub(block, e.mul(outer, blocks)), i32(blockColumns))
    const stop = e.min(e.add(first, i32(blockColumns)), columnCount)
    const together = (starts: ReadonlyArray<I>): void => {
      const all = starts.map((c) => ({
        column: Value.delinearize(e, Value.along(e, c, columns), rhs.free),
        total: e.variable(sum.neutral)
      }))
      sum.each(outer, (entry, term) => {
        const products = all.map(() => e.variable<"v256">(splatF64(0)))
        const [ofLeft, ofRight] = [entry.slice(0, lhs.batch.length), entry.slice(0, rhs.batch.length)]
        e.loop(i32(0), e.dim(Shape.size(lhs.depth)), 1, (k) => {
          const step = Value.delinearize(e, Value.uniform(k), lhs.depth)
          const element = Value.toDoubles(lhs.at(body, e, ofLeft, row, step))
          products.forEach((own, n) => {
            const { column } = all[n] as (typeof all)[number]
            const other = Value.toDoubles(rhs.at(body, e, ofRight, column, step))
            own.set(madd(e, element, other, own.value))
          })
        })
        all.forEach(({ column, total }, n) => {
          const value = e.now((products[n] as (typeof products)[number]).value)
          total.set(sum.merge(total.value, term(row, column, Value.doubles(value))))
        })
      })
      for (const { column, total } of all) sum.store(outer, row, column, e.now(total.value))
    }
    inFours(e, first, stop, blockColumns, together)
  })
  const times = Dim.mul(Shape.size(sum.kept), rows)
  return frame.finish("matmul_sum_f64", { times, of: columns, per: blockColumns })
}

/** What is added up, and where the sums go. */
const sumOf = (frame: Frame.Frame, { dot, sum, chain, row, column }: ContractionSum) => {
  const { e, job } = frame
  const operand = sum.operands[0] as Node
  const { shape } = operand.type
  const { axes } = sum.attrs
  const outer = shape.flatMap((_, axis) =>
    axis === row || axis === column || axes.includes(axis) ? [] : [axis]
  )
  const sizes = (list: ReadonlyArray<number>): Shape.Shape => list.map((axis) => shape[axis] as Dim.Dim)
  const [kept, summed] = [sizes(outer), sizes(axes)]
  const epilogue = Epilogue.make(frame, { ...job, anchor: sum })
  const { neutral, merge } = monoidOf("reduce_sum", compute(sum.type.dtype)) as {
    readonly neutral: R
    readonly merge: (a: R, b: R) => R
  }
  /** The index tuple of the sum's operand; of its result without the summed axes. */
  const tuple = (own: Indices, entry: Indices, [r]: Indices, [c]: Indices): Indices =>
    shape.map((_, axis) => {
      if (axis === row) return r as Value.Value
      if (axis === column) return c as Value.Value
      const at = axes.indexOf(axis)
      return (at >= 0 ? entry[at] : own[outer.indexOf(axis)]) as Value.Value
    })
  return {
    kept,
    neutral,
    merge,
    /** Visits the entries that make up one of the kept axes': the contraction's index of each, and the function of its elements. */
    each: (
      number: I,
      inside: (entry: Indices, term: (r: Indices, c: Indices, value: Value.Value) => R) => void
    ): void => {
      const own = Value.delinearize(e, Value.uniform(number), kept)
      e.loop(i32(0), e.dim(Shape.size(summed)), 1, (n) => {
        const entry = Value.delinearize(e, Value.uniform(n), summed)
        const origin = tuple(own, entry, [Value.integer(0)], [Value.integer(0)])
        const behind = chain.reduce<Indices>((at, node) => moved(e, node, at) ?? at, origin)
        inside(behind.slice(0, -2), (r, c, value) => {
          const body = Body.make(frame, job.body)
          body.give(dot, value)
          return Value.toRegister(e, body.at(operand, tuple(own, entry, r, c)))
        })
      })
    },
    store: (number: I, r: Indices, c: Indices, total: R): void => {
      const own = Value.delinearize(e, Value.uniform(number), kept)
      const whole = tuple(
        own,
        summed.map(() => Value.integer(0)),
        r,
        c
      )
      epilogue(
        whole.filter((_, axis) => !axes.includes(axis)),
        Value.ofRegister(total)
      )
    }
  }
}
