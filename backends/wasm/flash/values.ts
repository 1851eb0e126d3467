import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import { type Expr, i32, load, op, splatF32, store } from "../assembler/Instruction.ts"
import type { Variable } from "../emit/Emitter.ts"
import type { Frame } from "../emit/Frame.ts"
import { madd } from "../emit/math.ts"
import { type Job, operand, type Ref } from "../Job.ts"
import { accumulate, tileColumns } from "../kernels/tile.ts"
import type { Problem } from "./Problem.ts"
import { noPart } from "./softmax.ts"

type I = Expr<"i32">
type V = Expr<"v128">

/** How values lie: in panels of columns, or as the caller has them. */
export interface Layout {
  readonly ref: Ref
  /** From one panel to the next; undefined where panels are whole. */
  readonly panelBytes: number | undefined
  /** From one key to the next. */
  readonly step: number
}

export const packed = (ref: Ref): Layout => ({ ref, panelBytes: undefined, step: 4 * tileColumns })

/** Values that are read where they lie: their columns fill panels. */
export const inPlace = ({ job, node, E }: Problem): Layout | undefined => {
  const [, , v] = node.operands as readonly [Node, Node, Node]
  const [ref, width] = [lying(job, v, tileColumns), Dim.value(E)]
  return ref && { ref, panelBytes: 4 * tileColumns, step: 4 * (width as number) }
}

/** The operand whose memory holds the elements of a node in their order, f32 in rows of whole vectors. */
const lying = (job: Job, node: Node, vector: number): Ref | undefined => {
  // A reshape names the same elements in the same order.
  let from = node
  while (from.op === "reshape") from = from.operands[0] as Node
  const index = (job.body.inputs as ReadonlyArray<Node>).indexOf(from)
  const width = Dim.value(node.type.shape.at(-1) as Dim.Dim)
  if (index < 0 || node.type.dtype !== "f32" || width === undefined || width % vector !== 0) return undefined
  return operand(index)
}

/** Where the values of a tile of keys lie. */
export interface Lying {
  readonly values: I
  readonly panelBytes: I
  /** From one key to the next. */
  readonly step: number
}

/** Rows that a product takes together, and whether those that are left over are taken one by one; the values then lie row by row. */
export interface Tiling {
  readonly rows: number
  readonly exact: boolean
}

/** The weights of a tile of keys, their values, and the sums they are added to. Addresses, and bytes from one row to the next. */
interface Product extends Lying {
  readonly weights: I
  readonly weightStride: number
  /** Ones where a pair takes no part. */
  readonly hidden: Variable<"v128">
  readonly rowCount: I
  /** What the sums of a row are multiplied with before. */
  readonly factor: (row: I) => V
  readonly tiling: Tiling
  readonly panels: I
  readonly sums: I
  readonly sumStride: I
  readonly count: I
}

const halves = [0, 16] as const

/**
 * Adds weighted values. Where a pair takes no part and a value is not finite, pairs are added one by one, so that it stays with those
 * that see it; else as a matrix product.
 */
export const add = (frame: Frame, product: Product): void => {
  const { e } = frame
  const careful = e.variable(i32(0))
  e.branch(op("v128.any_true", product.hidden.value), () => careful.set(isOpen(frame, product)))
  e.branch(
    careful.value,
    () => oneByOne(frame, product),
    () => multiply(frame, product)
  )
}

/** Whether a value of the tile is infinite or NaN: its product with 0 is no 0. */
const isOpen = ({ e }: Frame, { values, panels, panelBytes, step, count }: Product): I => {
  const zeros = e.variable(splatF32(0))
  e.loop(i32(0), panels, 1, (panel) => {
    const start = e.add(values, e.mul(panel, panelBytes))
    e.loop(i32(0), count, 1, (key) => {
      const at = e.add(start, e.mul(key, i32(step)))
      for (const half of halves)
        zeros.set(op("f32x4.add", zeros.value, op("f32x4.mul", load("v128.load", at, half), splatF32(0))))
    })
  })
  return op("v128.any_true", op("f32x4.ne", zeros.value, zeros.value))
}

const oneByOne = ({ e }: Frame, p: Product): void =>
  e.loop(i32(0), p.rowCount, 1, (r) => {
    const row = e.add(p.weights, e.mul(r, i32(p.weightStride)))
    const factor = e.now(p.factor(r))
    e.loop(i32(0), p.panels, 1, (panel) => {
      const to = e.add(e.add(p.sums, e.mul(panel, i32(4 * tileColumns))), e.mul(r, p.sumStride))
      const from = e.add(p.values, e.mul(panel, p.panelBytes))
      const sums = halves.map((half) => e.variable(op("f32x4.mul", load("v128.load", to, half), factor)))
      e.loop(i32(0), p.count, 1, (key) => {
        const at = e.add(row, e.mul(key, i32(4)))
        e.branch(op("i32.ne", load("i32.load", at), i32(noPart)), () => {
          const weight = e.now(load("v128.load32_splat", at))
          const value = e.add(from, e.mul(key, i32(p.step)))
          sums.forEach((sum, n) => {
            sum.set(madd(e, weight, load("v128.load", value, 16 * n), sum.value))
          })
        })
      })
      sums.forEach((sum, n) => {
        e.line(store("v128.store", to, sum.value, 16 * n))
      })
    })
  })

const multiply = (frame: Frame, p: Product): void => {
  const { e } = frame
  const { rows: tileRows, exact } = p.tiling
  const tiles = e.div(exact ? p.rowCount : e.add(p.rowCount, i32(tileRows - 1)), i32(tileRows))
  const whole = e.mul(tiles, i32(tileRows))
  e.loop(i32(0), p.panels, 1, (panel) => {
    e.loop(i32(0), whole, tileRows, (firstRow) => {
      const to = e.add(e.add(p.sums, e.mul(panel, i32(4 * tileColumns))), e.mul(firstRow, p.sumStride))
      const rows = Array.from({ length: tileRows }, (_, r) => e.add(to, e.mul(p.sumStride, i32(r))))
      const tile = rows.map((row, r) => {
        const factor = e.now(p.factor(e.add(firstRow, i32(r))))
        const sum = (half: number) => e.variable(op("f32x4.mul", load("v128.load", row, half), factor))
        return [sum(0), sum(16)] as const
      })
      accumulate(
        e,
        tile,
        {
          start: e.add(p.weights, e.mul(firstRow, i32(p.weightStride))),
          step: 4,
          row: (r) => p.weightStride * r
        },
        { start: e.add(p.values, e.mul(panel, p.panelBytes)), step: p.step },
        p.count
      )
      tile.forEach((row, r) => {
        row.forEach((sum, half) => {
          e.line(store("v128.store", rows[r] as I, sum.value, 16 * half))
        })
      })
    })
  })
  if (exact) e.loop(whole, p.rowCount, 1, (row) => multiplyRow(frame, p, row))
}

/** Panels whose sums a single row keeps in registers. */
const widest = 4

const multiplyRow = ({ e }: Frame, p: Product, row: I): void => {
  const factor = e.now(p.factor(row))
  const weights = e.add(p.weights, e.mul(row, i32(p.weightStride)))
  const own = e.add(p.sums, e.mul(row, p.sumStride))
  const some = (panel: I, count: number): void => {
    const to = e.add(own, e.mul(panel, i32(4 * tileColumns)))
    const places = Array.from({ length: 2 * count }, (_, n) => 16 * n)
    const sums = places.map((at) => e.variable(op("f32x4.mul", load("v128.load", to, at), factor)))
    const pa = e.variable(weights)
    const pb = e.variable(e.add(p.values, e.mul(panel, p.panelBytes)))
    e.loop(i32(0), p.count, 1, () => {
      const weight = e.now(load("v128.load32_splat", pa.value))
      sums.forEach((sum, n) => {
        sum.set(madd(e, weight, load("v128.load", pb.value, places[n] as number), sum.value))
      })
      pa.set(op("i32.add", pa.value, i32(4)))
      pb.set(op("i32.add", pb.value, i32(p.step)))
    })
    sums.forEach((sum, n) => {
      e.line(store("v128.store", to, sum.value, places[n] as number))
    })
  }
  const whole = e.bind(op("i32.and", p.panels, i32(-widest)))
  e.loop(i32(0), whole, widest, (panel) => some(panel, widest))
  e.loop(whole, p.panels, 1, (panel) => some(panel, 1))
}
