import * as Dim from "../../../ir/Dim.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, load, op, splat, store } from "../assembler/Instruction.ts"
import type { Emitter } from "../emit/Emitter.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { compute } from "../emit/scalar.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"
import type { Condition, Items } from "../Program.ts"
import { double } from "./double.ts"
import { isAlongDepth, matvec, mostRows } from "./matvec.ts"
import { filler, type Packed, pack, panels, panelsAt, type Side } from "./pack.ts"
import { accumulate, tileColumns, tileRows } from "./tile.ts"
import { fewRows, vecmat } from "./vecmat.ts"

type I = Expr<"i32">

/** How much an item is, about: few rows, too, are divided among threads. */
interface Block {
  readonly rows: number
  readonly columns: number
}

/** What is packed of the rows stays in the second cache while columns pass. */
export const smallBlock: Block = { rows: 60, columns: 64 }

/** Where columns are packed anew for each block of rows, that is as many rows as the cache holds, within limits. */
const largeBlock = (depth: Dim.Dim): Block => {
  const panels = Math.floor(blockBytes / (4 * tileRows * (Dim.value(depth) ?? usualDepth)))
  return { rows: tileRows * Math.max(leastPanels, Math.min(mostPanels, panels)), columns: 32 }
}

const blockBytes = 2 ** 19
const usualDepth = 512
const [leastPanels, mostPanels] = [20, 40]

/** Parts that the columns are divided into, of about as many panels each. */
const partsOf = (columns: Dim.Dim, each: number): number => {
  const known = Dim.value(columns)
  return known === undefined ? 8 : Math.min(32, Math.max(1, Math.ceil(known / each)))
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

/**
 * Columns that lie along the depth are packed where they are multiplied, a panel at a time: they come no further than the first cache, and are read
 * from memory once. Where neighbours lie side by side a panel is half a line of each row: there all of them are packed before.
 */
const ofMany = (job: Job, anchor: NodeOf<"dot">, lhs: Side, rhs: Side): ReadonlyArray<Lowered> => {
  const left = pack(job, lhs, tileRows)
  const right = isAlongDepth(anchor) ? undefined : pack(job, rhs, tileColumns)
  const product = multiply(job, anchor, lhs, rhs, left, right)
  return right === undefined ? [left.lowered, product] : [left.lowered, right.lowered, product]
}

const sidesOf = ({ operands, attrs }: NodeOf<"dot">): { readonly lhs: Side; readonly rhs: Side } => {
  const [left, right] = operands as readonly [Node, Node]
  return {
    lhs: sideOf(left, attrs.lhsBatch, attrs.lhsContract),
    rhs: sideOf(right, attrs.rhsBatch, attrs.rhsContract)
  }
}

export const sideOf = (node: Node, batch: ReadonlyArray<number>, contract: ReadonlyArray<number>): Side => {
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

/** Panels of columns. */
interface Columns {
  readonly at: PanelAt
  readonly block: Block
  /** Makes the panel of some columns ready, from the first on. */
  readonly pack?: (entry: I, first: I) => void
}

const packedBefore = (frame: Frame.Frame, side: Side, packed: Packed): Columns => ({
  at: panelsAt(frame, side, packed, tileColumns),
  block: smallBlock
})

const packedHere = (frame: Frame.Frame, side: Side): Columns => {
  const { e } = frame
  const depth = Shape.size(side.depth)
  const to = frame.local(Dim.mul(depth, Dim.constant(tileColumns / 4)))
  const fill = filler(frame, side)
  return {
    at: () => to,
    block: largeBlock(depth),
    pack: (entry, first) => {
      const batch = Value.delinearize(e, Value.uniform(entry), side.batch)
      fill({ panel: tileColumns, batch, first, depth: { lo: i32(0), hi: e.dim(depth) }, to })
    }
  }
}

const multiply = (
  job: Job,
  anchor: NodeOf<"dot">,
  lhs: Side,
  rhs: Side,
  left: Packed,
  right: Packed | undefined
): Lowered => {
  const frame = Frame.open(job)
  const { e } = frame
  const epilogue = Epilogue.make(frame)
  const columns = right === undefined ? packedHere(frame, rhs) : packedBefore(frame, rhs, right)
  const product = productOf(frame, anchor, lhs, panelsAt(frame, lhs, left, tileRows), columns.at)
  const items = eachTile(frame, Shape.size(lhs.batch), lhs.free, rhs.free, columns, (tile) => {
    const entry = Value.delinearize(e, Value.uniform(tile.entry), lhs.batch)
    const result = product(tile, tile.entry, tile.entry)
    overTile(e, tile, (r, c) => {
      const value = e.now(load("v128.load", placeIn(e, result, r, c, 4)))
      epilogue([...entry, ...tile.row(r), ...tile.column(c)], Value.vector(value))
    })
  })
  return frame.finish("matmul", items)
}

/** Where a tile of the result lies. */
export interface Tile {
  readonly entry: I
  readonly rowPanel: I
  readonly columnPanel: I
  /** What of it there is. */
  readonly rows: I
  readonly columns: I
  /** The indices of its rows and columns, of a vector of them where that is the width. */
  readonly row: (r: I) => ReadonlyArray<Value.Value>
  readonly column: (c: I) => ReadonlyArray<Value.Value>
}

/** Visits the tiles of all entries. An item is a block of rows, of so many at most, and a part of the columns. */
export const eachTile = (
  { e, begin, end }: Frame.Frame,
  entries: Dim.Dim,
  rowShape: Shape.Shape,
  columnShape: Shape.Shape,
  { block: most, pack: before }: Pick<Columns, "block" | "pack">,
  inside: (tile: Tile) => void
): Items => {
  const [rows, columns] = [Shape.size(rowShape), Shape.size(columnShape)]
  const [rowCount, columnCount] = [e.dim(rows), e.dim(columns)]
  const [rowPanels, columnPanels] = [panels(e, rowShape, tileRows), panels(e, columnShape, tileColumns)]
  const blocks = e.div(e.add(rowCount, i32(most.rows - 1)), i32(most.rows))
  const parts = partsOf(columns, most.columns)
  const panelAt = (part: I): I => e.div(e.mul(part, columnPanels), i32(parts))
  e.loop(begin, end, 1, (item) => {
    const place = e.div(item, i32(parts))
    const part = e.sub(item, e.mul(place, i32(parts)))
    const entry = e.div(place, blocks)
    const block = e.sub(place, e.mul(entry, blocks))
    // Not n / blocks of all, whose product may be past 32 bits.
    const each = e.div(rowPanels, blocks)
    const rest = e.sub(rowPanels, e.mul(each, blocks))
    const rowPanelAt = (n: I): I => e.add(e.mul(n, each), e.min(n, rest))
    const [firstPanel, lastPanel] = [rowPanelAt(block), rowPanelAt(e.add(block, i32(1)))]
    e.loop(panelAt(part), panelAt(e.add(part, i32(1))), 1, (columnPanel) => {
      const firstColumn = e.mul(columnPanel, i32(tileColumns))
      before?.(entry, firstColumn)
      e.loop(firstPanel, lastPanel, 1, (rowPanel) => {
        const firstRow = e.mul(rowPanel, i32(tileRows))
        inside({
          entry,
          rowPanel,
          columnPanel,
          rows: e.min(i32(tileRows), e.sub(rowCount, firstRow)),
          columns: e.min(i32(tileColumns), e.sub(columnCount, firstColumn)),
          row: (r) => Value.delinearize(e, Value.uniform(e.add(firstRow, r)), rowShape),
          column: (c) => {
            const along = { ...Value.along(e, e.add(firstColumn, c), columns), align: e.width }
            return Value.delinearize(e, along, columnShape)
          }
        })
      })
    })
  })
  return { times: Dim.mul(entries, Dim.constant(parts)), of: rows, per: most.rows }
}

/** Where a panel of an entry lies. */
type PanelAt = (entry: I, number: I) => I

/** Multiplies the panels of a tile, of an entry of each side, into memory of the kernel. */
export const productOf = (
  frame: Frame.Frame,
  anchor: NodeOf<"dot">,
  lhs: Side,
  left: PanelAt,
  right: PanelAt
) => {
  const { e } = frame
  const integers = compute(anchor.type.dtype) !== "f32"
  const depth = e.dim(Shape.size(lhs.depth))
  const result = frame.local(Dim.constant((tileRows * tileColumns) / 4))
  return ({ rowPanel, columnPanel }: Tile, leftEntry: I, rightEntry: I): I => {
    const [pa, pb] = [left(leftEntry, rowPanel), right(rightEntry, columnPanel)]
    const sums = Array.from({ length: tileRows }, () => [e.variable(splat(0)), e.variable(splat(0))] as const)
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
    return result
  }
}

/** Where an element of a tile lies in memory. */
export const placeIn = (e: Emitter, tile: I, r: I, c: I, bytes: number): I =>
  e.add(e.add(tile, e.mul(r, i32(bytes * tileColumns))), e.mul(c, i32(bytes)))

/** Visits a tile in vectors, and what is left of its rows one by one. */
export const overTile = (e: Emitter, { rows, columns }: Tile, put: (r: I, c: I) => void): void => {
  e.loop(i32(0), rows, 1, (r) => {
    const whole = e.bind(op("i32.and", columns, i32(-4)))
    e.loop(i32(0), whole, 4, (c) => e.at(4, () => put(r, c)))
    e.loop(whole, columns, 1, (c) => e.at(1, () => put(r, c)))
  })
}
