import * as Dim from "../../../ir/Dim.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, op } from "../assembler/Instruction.ts"
import { apart } from "../emit/apart.ts"
import * as Body from "../emit/body.ts"
import type { Emitter } from "../emit/Emitter.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { keep, keepFirst, kept } from "../emit/real.ts"
import * as Value from "../emit/Value.ts"
import { type Job, type Lowered, operand, type Ref } from "../Job.ts"
import { arithmetic } from "./arithmetic.ts"
import { inFours } from "./double.ts"
import type { Side } from "./pack.ts"

type I = Expr<"i32">
type R = Value.Register

/** Columns of an item, mostly all there are: where a row is left off in the middle, memory is no stream. Their sums stay in the nearer caches. */
const blockColumns = 65536

/** Steps of the depth in a part of it, at least, and parts, at most. */
const leastSteps = 32
const mostParts = 16

/** A load waits for a store before it whose address is the same but for a multiple of this. */
const alias = 4096

/** Calls of at most so many rows come here. */
export const fewRows = 3

/** Columns that one item adds up the parts of. */
const addedColumns = 512

/** Parts that the depth is divided into, whatever the threads. */
const partsOf = (depth: Dim.Dim): number => {
  const known = Dim.value(depth)
  return known === undefined ? 8 : Math.min(mostParts, Math.max(1, Math.floor(known / leastSteps)))
}

const arithmeticOf = (job: Job) => arithmetic((job.anchor as NodeOf<"dot">).type.dtype)

/**
 * Products of few rows with a matrix whose neighbouring columns lie side by side. The matrix is read row after row as it lies, for memory
 * is fast as long as it is one stream; threads take parts of its rows, and a second kernel adds up what they come to, in their order.
 */
export const vecmat = (job: Job, lhs: Side, rhs: Side): ReadonlyArray<Lowered> => {
  const parts = partsOf(Shape.size(lhs.depth))
  if (parts === 1) return [multiply(job, lhs, rhs, parts, undefined)]
  const { bytes } = arithmeticOf(job)
  // Not what many rows would take, which others do: where they run, this memory is theirs.
  const rows = Dim.value(Shape.size(lhs.free)) ?? fewRows
  const sums = job.scratch(
    Dim.product([Dim.constant(bytes * parts * rows), ...lhs.batch, Shape.size(rhs.free)])
  )
  return [multiply(job, lhs, rhs, parts, sums), added(job, lhs, rhs, parts, sums)]
}

/** Vectors of columns from the first, then what is left one by one. */
const each = ({ e }: Frame.Frame, first: I, stop: I, inside: (column: I) => void): void =>
  inFours(e, first, stop, 16, (starts) => starts.forEach(inside))

/** Keeps a vector, or its first lane where there is no more. */
const store = (e: Emitter, to: I, value: R): void => {
  const { base, offset } = apart(e, to)
  e.line(e.width === 4 ? keep(base, value, offset) : keepFirst(to, value))
}

/** The products of one part of the depth with a block of columns, added up; given to what follows if it is the only part. */
const multiply = (job: Job, lhs: Side, rhs: Side, parts: number, sums: Ref | undefined): Lowered => {
  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const epilogue = sums === undefined ? Epilogue.make(frame) : undefined
  const [rows, columns, depth] = [lhs.free, rhs.free, lhs.depth].map((s) => e.dim(Shape.size(s))) as [I, I, I]
  const { bytes, zero, multiplyAdd } = arithmeticOf(job)
  const blocks = e.div(e.add(columns, i32(blockColumns - 1)), i32(blockColumns))
  const most = Math.min(blockColumns, Dim.value(columnsOf(rhs)) ?? blockColumns)
  const local = frame.local(Dim.constant(Math.ceil((most * bytes + alias) / 16)))
  const matrix = matrixOf(frame)

  e.loop(frame.begin, frame.end, 1, (item) => {
    const place = e.div(item, blocks)
    const first = e.mul(e.sub(item, e.mul(place, blocks)), i32(blockColumns))
    const stop = e.min(e.add(first, i32(blockColumns)), columns)
    const entry = e.div(place, i32(parts))
    const part = e.sub(place, e.mul(entry, i32(parts)))
    const stepAt = (n: I): I => e.div(e.mul(n, depth), i32(parts))
    const batch = Value.delinearize(e, Value.uniform(entry), lhs.batch)
    e.loop(i32(0), rows, 1, (row) => {
      const rowIndices = Value.delinearize(e, Value.uniform(row), lhs.free)
      const elements = (side: Side, free: ReadonlyArray<Value.Value>, k: I): R =>
        Value.toRegister(e, side.at(body, e, batch, free, Value.delinearize(e, Value.uniform(k), side.depth)))
      const freeAt = (c: I) => Value.delinearize(e, Value.along(e, c, columnsOf(rhs)), rhs.free)
      // Half of `alias` from the elements that they are sums of, where those lie as the caller has them.
      const distant = e.add(e.add(matrix ?? local, e.mul(first, i32(bytes))), i32(alias / 2))
      const own = e.add(local, e.bind(op("i32.and", e.sub(distant, local), i32(alias - 64))))
      const sumAt = (c: I): I => e.add(own, e.mul(e.sub(c, first), i32(bytes)))
      const sumOf = (c: I): R => {
        const { base, offset } = apart(e, sumAt(c))
        return e.now(kept(bytes, base, offset))
      }
      const put = (c: I, sum: R): void => store(e, sumAt(c), sum)
      each(frame, first, stop, (c) => put(c, zero))
      e.loop(stepAt(part), stepAt(e.add(part, i32(1))), 1, (k) => {
        const element = elements(lhs, rowIndices, k)
        each(frame, first, stop, (c) => {
          put(c, multiplyAdd(e, element, elements(rhs, freeAt(c), k), sumOf(c)))
        })
      })
      const line = e.mul(e.add(e.mul(place, rows), row), columns)
      each(frame, first, stop, (c) => {
        const sum = sumOf(c)
        if (epilogue !== undefined) epilogue([...batch, ...rowIndices, ...freeAt(c)], Value.ofRegister(sum))
        else store(e, e.add(frame.pointer(sums as Ref), e.mul(e.add(line, c), i32(bytes))), sum)
      })
    })
  })
  const times = Dim.mul(Shape.size(lhs.batch), Dim.constant(parts))
  return frame.finish("vecmat", { times, of: columnsOf(rhs), per: blockColumns }, "stream")
}

/** Where the right side lies, if it is an argument as it stands. */
const matrixOf = (frame: Frame.Frame): I | undefined => {
  const { body, anchor } = frame.job
  const index = (body.inputs as ReadonlyArray<Node>).indexOf((anchor as NodeOf<"dot">).operands[1] as Node)
  return index < 0 ? undefined : frame.pointer(operand(index))
}

const columnsOf = ({ free }: Side): Dim.Dim => Shape.size(free)

const added = (job: Job, lhs: Side, rhs: Side, parts: number, sums: Ref): Lowered => {
  const frame = Frame.open(job)
  const { e } = frame
  const epilogue = Epilogue.make(frame)
  const { bytes, plus } = arithmeticOf(job)
  const [rows, columns] = [lhs.free, rhs.free].map((s) => e.dim(Shape.size(s))) as [I, I]
  const blocks = e.div(e.add(columns, i32(addedColumns - 1)), i32(addedColumns))
  const apart = e.mul(e.mul(rows, columns), i32(bytes))

  e.loop(frame.begin, frame.end, 1, (item) => {
    const entry = e.div(item, blocks)
    const first = e.mul(e.sub(item, e.mul(entry, blocks)), i32(addedColumns))
    const stop = e.min(e.add(first, i32(addedColumns)), columns)
    const batch = Value.delinearize(e, Value.uniform(entry), lhs.batch)
    e.loop(i32(0), rows, 1, (row) => {
      const rowIndices = Value.delinearize(e, Value.uniform(row), lhs.free)
      const line = e.mul(e.add(e.mul(e.mul(entry, i32(parts)), rows), row), columns)
      each(frame, first, stop, (c) => {
        const start = e.add(frame.pointer(sums), e.mul(e.add(line, c), i32(bytes)))
        const total = e.variable(kept(bytes, start))
        e.loop(i32(1), i32(parts), 1, (n) => {
          total.set(plus(total.value, kept(bytes, e.add(start, e.mul(n, apart)))))
        })
        const free = Value.delinearize(e, Value.along(e, c, columnsOf(rhs)), rhs.free)
        epilogue([...batch, ...rowIndices, ...free], Value.ofRegister(e.now(total.value)))
      })
    })
  })
  return {
    ...frame.finish("added", { times: Shape.size(lhs.batch), of: columnsOf(rhs), per: addedColumns }),
    work: [[...lhs.batch, ...lhs.free, ...rhs.free, Dim.constant(parts)]]
  }
}
