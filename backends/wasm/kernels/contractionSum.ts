import type { ContractionSum } from "../../../ir/ContractionSum.ts"
import * as Dim from "../../../ir/Dim.ts"
import * as Graph from "../../../ir/Graph.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, load } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { moved } from "../emit/moved.ts"
import { keep, keepFirst, kept as whatIsKept } from "../emit/real.ts"
import { compute } from "../emit/scalar.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"
import { arithmetic } from "./arithmetic.ts"
import { inFours } from "./double.ts"
import { eachTile, overTile, placeIn, productOf, sideOf, smallBlock } from "./matmul.ts"
import { isAlongDepth, sumsAlong } from "./matvec.ts"
import { pack, panelsAt, type Side } from "./pack.ts"
import { across, monoidOf } from "./rowOps.ts"
import { tileColumns, tileRows } from "./tile.ts"

type I = Expr<"i32">
type R = Value.Register
type Indices = ReadonlyArray<Value.Value>

/** Columns of an item where nothing is packed, so that what lies side by side is read for some time, and those whose sums are kept in registers. */
const blockColumns = 64
const inRegisters = 16

/** So many rows read columns where they lie; doubles always do. */
const fewRows = 3

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
  const rows = Shape.size(lhs.free)
  const known = Dim.value(rows)
  if (dot.type.dtype === "f64" || (known !== undefined && known <= fewRows))
    return [lying(job, found, lhs, rhs)]
  const many = packed(job, found, lhs, rhs)
  if (known !== undefined) return many
  const when = (relation: "<=" | ">", all: ReadonlyArray<Lowered>): ReadonlyArray<Lowered> =>
    all.map((lowered) => ({ ...lowered, when: [{ _tag: "size", left: rows, relation, right: fewRows }] }))
  return [...when("<=", [lying(job, found, lhs, rhs)]), ...when(">", many)]
}

const packed = (job: Job, found: ContractionSum, lhs: Side, rhs: Side): ReadonlyArray<Lowered> => {
  const [a, b] = [pack(job, lhs, tileRows), pack(job, rhs, tileColumns)]
  const frame = Frame.open(job)
  const { e } = frame
  const sum = sumOf(frame, found)
  const [left, right] = [panelsAt(frame, lhs, a, tileRows), panelsAt(frame, rhs, b, tileColumns)]
  const product = productOf(frame, found.dot, lhs, left, right)
  const bytes = Value.isDoubles(sum.neutral) ? 8 : 4
  const vectors = (tileRows * tileColumns * bytes) / 16
  // The last element is read as a vector, too.
  const totals = frame.local(Dim.constant(vectors + bytes / 4))
  const items = eachTile(frame, Shape.size(sum.kept), lhs.free, rhs.free, { block: smallBlock }, (tile) => {
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

/** Nothing is packed: an item is a row times some columns, and the next one has the same columns, which stay in the nearer caches. */
const lying = (job: Job, found: ContractionSum, lhs: Side, rhs: Side): Lowered => {
  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const sum = sumOf(frame, found)
  const own = arithmetic(found.dot.type.dtype)
  const depth = Shape.size(lhs.depth)
  const [rows, columns] = [Shape.size(lhs.free), Shape.size(rhs.free)]
  const [rowCount, columnCount] = [e.dim(rows), e.dim(columns)]
  const blocks = e.div(e.add(columnCount, i32(blockColumns - 1)), i32(blockColumns))
  const bytes = Value.isDoubles(sum.neutral) ? 8 : 4
  const totals = frame.local(Dim.constant((blockColumns * bytes) / 16))
  const elements = (side: Side, entry: Indices, free: Indices, k: Value.Value): R => {
    const batch = entry.slice(0, side.batch.length)
    return Value.toRegister(e, side.at(body, e, batch, free, Value.delinearize(e, k, side.depth)))
  }
  /** Products of a row of an entry with as many columns as a vector has, whose elements lie along the depth. */
  const along = (entry: Indices, row: Indices, start: I): R => {
    const sums = Array.from({ length: e.width }, (_, n) => {
      const free = Value.delinearize(e, Value.uniform(e.add(start, i32(n))), rhs.free)
      const left = (k: Value.Value): R => elements(lhs, entry, row, k)
      return sumsAlong(e, depth, own, [left], (k) => elements(rhs, entry, free, k))[0] as R
    })
    return e.width === 4 ? own.totals(e, sums) : across(e, sums[0] as R, own.plus)
  }
  /** Of vectors of columns that lie one beside the other. */
  const beside = (entry: Indices, row: Indices, starts: ReadonlyArray<I>): ReadonlyArray<R> => {
    const sums = starts.map(() => e.variable(own.zero))
    e.loop(i32(0), e.dim(depth), 1, (k) => {
      const step = Value.uniform(k)
      const element = elements(lhs, entry, row, step)
      for (const [n, one] of sums.entries()) {
        const free = Value.delinearize(e, Value.along(e, starts[n] as I, columns), rhs.free)
        one.set(own.multiplyAdd(e, element, elements(rhs, entry, free, step), one.value))
      }
    })
    return sums.map((one) => e.now(one.value))
  }

  e.loop(frame.begin, frame.end, 1, (item) => {
    const block = e.div(item, rowCount)
    const row = Value.delinearize(e, Value.uniform(e.sub(item, e.mul(block, rowCount))), lhs.free)
    const outer = e.div(block, blocks)
    const first = e.mul(e.sub(block, e.mul(outer, blocks)), i32(blockColumns))
    const stop = e.min(e.add(first, i32(blockColumns)), columnCount)
    const at = (c: I): I => e.add(totals, e.mul(e.sub(c, first), i32(bytes)))
    const column = (c: I): Indices => Value.delinearize(e, Value.along(e, c, columns), rhs.free)
    for (let v = 0; v < blockColumns; v += 4) e.line(keep(totals, sum.neutral, v * bytes))
    sum.each(outer, (entry, term) => {
      const add = (c: I, product: R): void => {
        const next = sum.merge(
          e.now(whatIsKept(bytes, at(c))),
          term(row, column(c), Value.ofRegister(product))
        )
        e.line(e.width === 4 ? keep(at(c), next) : keepFirst(at(c), next))
      }
      if (isAlongDepth(found.dot)) inFours(e, first, stop, 4, ([c]) => add(c as I, along(entry, row, c as I)))
      else
        inFours(e, first, stop, inRegisters, (starts) =>
          beside(entry, row, starts).forEach((product, n) => {
            add(starts[n] as I, product)
          })
        )
    })
    inFours(e, first, stop, 4, ([c]) =>
      sum.store(outer, row, column(c as I), e.now(whatIsKept(bytes, at(c as I))))
    )
  })
  const times = Dim.mul(Shape.size(sum.kept), rows)
  return frame.finish("matmul_sum_lying", { times, of: columns, per: blockColumns })
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
