import * as Dim from "../../../ir/Dim.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, load, op, splat, store } from "../assembler/Instruction.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { compute } from "../emit/scalar.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"
import type { Condition } from "../Program.ts"
import { double } from "./double.ts"
import { isAlongDepth, matvec, mostRows } from "./matvec.ts"
import { type Packed, pack, panelBytes, panels, type Side } from "./pack.ts"
import { accumulate, tileColumns, tileRows } from "./tile.ts"
import { fewRows, vecmat } from "./vecmat.ts"

/** Rows of an item: what is packed of them stays in the second cache while columns pass. */
const blockRows = 60

/** Columns of an item, about: few rows, too, are divided among threads. */
const blockColumns = 64

/** Parts that the columns are divided into, of about as many panels each. */
const partsOf = (columns: Dim.Dim): number => {
  const known = Dim.value(columns)
  return known === undefined ? 8 : Math.min(32, Math.max(1, Math.ceil(known / blockColumns)))
}

/** Matrix products: both sides are packed, then tiles of the result are computed and what follows is done to them. */
export const matmul = (job: Job): ReadonlyArray<Lowered> => {
  const anchor = job.anchor as NodeOf<"dot">
  const { lhs, rhs } = sidesOf(anchor)
  const rows = Shape.size(lhs.free)
  const along = isAlongDepth(anchor)
  const most = along ? mostRows : fewRows
  const few: Condition = { _tag: "size", left: rows, relation: "<=", right: most }
  const many: Condition = { ...few, relation: ">" }
  const known = Dim.value(rows)
  const lying = (): ReadonlyArray<Lowered> => (along ? [matvec(job, lhs, rhs)] : vecmat(job, lhs, rhs))
  const isDouble = anchor.type.dtype === "f64"
  if ((known !== undefined && known <= most) || (isDouble && along)) return lying()
  const direct =
    known !== undefined && known > most ? [] : lying().map((lowered) => ({ ...lowered, when: [few] }))
  const packed = isDouble ? [double(job, lhs, rhs)] : ofMany(job, anchor, lhs, rhs)
  return [...direct, ...packed.map((lowered) => ({ ...lowered, when: direct.length === 0 ? [] : [many] }))]
}

const ofMany = (job: Job, anchor: NodeOf<"dot">, lhs: Side, rhs: Side): ReadonlyArray<Lowered> => {
  const [left, right] = [pack(job, lhs, tileRows), pack(job, rhs, tileColumns)]
  return [left.lowered, right.lowered, multiply(job, anchor, lhs, rhs, left, right)]
}

const sidesOf = ({ operands, attrs }: NodeOf<"dot">): { readonly lhs: Side; readonly rhs: Side } => {
  const [left, right] = operands as readonly [Node, Node]
  return {
    lhs: sideOf(left, attrs.lhsBatch, attrs.lhsContract),
    rhs: sideOf(right, attrs.rhsBatch, attrs.rhsContract)
  }
}

const sideOf = (node: Node, batch: ReadonlyArray<number>, contract: ReadonlyArray<number>): Side => {
  const { shape } = node.type
  const free = shape.flatMap((_, axis) => (batch.includes(axis) || contract.includes(axis) ? [] : [axis]))
  const sizes = (axes: ReadonlyArray<number>): Shape.Shape => axes.map((axis) => shape[axis] as Dim.Dim)
  return {
    batch: sizes(batch),
    free: sizes(free),
    depth: sizes(contract),
    at: (body, _, b, f, d) =>
      body.at(
        node,
        shape.map((_, axis) => {
          const [inBatch, inFree] = [batch.indexOf(axis), free.indexOf(axis)]
          const own = inBatch >= 0 ? b[inBatch] : inFree >= 0 ? f[inFree] : d[contract.indexOf(axis)]
          return own as Value.Value
        })
      )
  }
}

const multiply = (
  job: Job,
  anchor: NodeOf<"dot">,
  lhs: Side,
  rhs: Side,
  left: Packed,
  right: Packed
): Lowered => {
  const frame = Frame.open(job)
  const { e } = frame
  const epilogue = Epilogue.make(frame)
  const integers = compute(anchor.type.dtype) !== "f32"
  const [rows, columns] = [Shape.size(lhs.free), Shape.size(rhs.free)]
  const [rowCount, columnCount, depth] = [rows, columns, Shape.size(lhs.depth)].map(e.dim) as [
    Expr<"i32">,
    Expr<"i32">,
    Expr<"i32">
  ]
  const [a, b] = [frame.pointer(left.ref), frame.pointer(right.ref)]
  const result = frame.local(Dim.constant((tileRows * tileColumns) / 4))
  const [rowPanels, columnPanels] = [panels(e, lhs.free, tileRows), panels(e, rhs.free, tileColumns)]
  const [rowBytes, columnBytes] = [panelBytes(e, lhs.depth, tileRows), panelBytes(e, rhs.depth, tileColumns)]
  const blocks = e.div(e.add(rowCount, i32(blockRows - 1)), i32(blockRows))

  const parts = partsOf(columns)
  const panelAt = (part: Expr<"i32">): Expr<"i32"> => e.div(e.mul(part, columnPanels), i32(parts))
  e.loop(frame.begin, frame.end, 1, (item) => {
    const place = e.div(item, i32(parts))
    const part = e.sub(item, e.mul(place, i32(parts)))
    const entry = e.div(place, blocks)
    const block = e.sub(place, e.mul(entry, blocks))
    const entryIndices = Value.delinearize(e, Value.uniform(entry), lhs.batch)
    const firstPanel = e.mul(block, i32(blockRows / tileRows))
    const lastPanel = e.min(e.add(firstPanel, i32(blockRows / tileRows)), rowPanels)
    e.loop(panelAt(part), panelAt(e.add(part, i32(1))), 1, (columnPanel) => {
      const pb = e.add(b, e.mul(e.add(e.mul(entry, columnPanels), columnPanel), columnBytes))
      const firstColumn = e.mul(columnPanel, i32(tileColumns))
      e.loop(firstPanel, lastPanel, 1, (rowPanel) => {
        const pa = e.add(a, e.mul(e.add(e.mul(entry, rowPanels), rowPanel), rowBytes))
        const sums = Array.from(
          { length: tileRows },
          () => [e.variable(splat(0)), e.variable(splat(0))] as const
        )
        accumulate(
          e,
          sums,
          { start: pa, step: 4 * tileRows, row: (r) => 4 * r },
          { start: pb, step: 4 * tileColumns },
          depth,
          integers
        )
        sums.forEach((row, r) => {
          row.forEach((sum, half) => {
            e.line(store("v128.store", result, sum.value, 32 * r + 16 * half))
          })
        })
        const firstRow = e.mul(rowPanel, i32(tileRows))
        storeTile(frame, epilogue, {
          tile: result,
          width: tileColumns,
          rows: e.min(i32(tileRows), e.sub(rowCount, firstRow)),
          columns: e.min(i32(tileColumns), e.sub(columnCount, firstColumn)),
          indices: (r, c) => [
            ...entryIndices,
            ...Value.delinearize(e, Value.uniform(e.add(firstRow, r)), lhs.free),
            ...Value.delinearize(
              e,
              { ...Value.along(e, e.add(firstColumn, c), columns), align: e.width },
              rhs.free
            )
          ]
        })
      })
    })
  })
  return frame.finish("matmul", {
    times: Dim.mul(Shape.size(lhs.batch), Dim.constant(parts)),
    of: rows,
    per: blockRows
  })
}

/** Gives a tile of values in memory to the epilogue, in vectors and what is left one by one. */
export const storeTile = (
  { e }: Frame.Frame,
  epilogue: Epilogue.Epilogue,
  tile: {
    readonly tile: Expr<"i32">
    /** Words from one row to the next. */
    readonly width: number
    readonly rows: Expr<"i32">
    readonly columns: Expr<"i32">
    readonly indices: (row: Expr<"i32">, column: Expr<"i32">) => ReadonlyArray<Value.Value>
  }
): void => {
  e.loop(i32(0), tile.rows, 1, (r) => {
    const row = e.add(tile.tile, e.mul(r, i32(4 * tile.width)))
    const put = (c: Expr<"i32">): void => {
      const value = e.now(load("v128.load", e.add(row, e.mul(c, i32(4)))))
      epilogue(tile.indices(r, c), Value.vector(value))
    }
    const whole = e.bind(op("i32.and", tile.columns, i32(-4)))
    e.loop(i32(0), whole, 4, (c) => e.at(4, () => put(c)))
    e.loop(whole, tile.columns, 1, (c) => e.at(1, () => put(c)))
  })
}
