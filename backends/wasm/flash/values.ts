import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import { type Expr, i32, load, op, select, splatF32, store } from "../assembler/Instruction.ts"
import { constantOf, type Variable } from "../emit/Emitter.ts"
import type { Frame } from "../emit/Frame.ts"
import { madd } from "../emit/math.ts"
import * as Storage from "../emit/storage.ts"
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
  readonly vectors: Storage.Vectors
}

/** Rows that a product takes together, all of which there are memory for, or whether it takes just those there are; the values then lie row by row. */
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

const words = Storage.vectors("f32")

/**
 * Adds weighted values, as a matrix product. Where a pair takes no part and its value is not finite, its product with 0 shows as NaN in
 * a sum: then pairs are added one by one, so that it stays with those that see it.
 */
export const add = (frame: Frame, product: Product): void => {
  const { e } = frame
  const { rowCount, tiling } = product
  if (tiling.exact) {
    addExactly(frame, product)
    return
  }
  const whole = e.mul(e.div(e.add(rowCount, i32(tiling.rows - 1)), i32(tiling.rows)), i32(tiling.rows))
  addTiles(frame, product, whole)
}

const addTiles = (frame: Frame, product: Product, rows: I): void => {
  const { e } = frame
  const { panels, tiling } = product
  e.loop(i32(0), panels, 1, (panel) => {
    e.loop(i32(0), rows, tiling.rows, (row) => addTile(frame, product, row, panel))
  })
}

/** Two rows at a time, or tiles of them where values have to be converted, and one by one those that are left over. */
const addExactly = (frame: Frame, product: Product): void => {
  const { e } = frame
  const { rowCount, count } = product
  const size = e.bind(select(i32(blockOfKeys), count, op("i32.lt_s", rowCount, i32(4))))
  const isWords = product.vectors.bytes === words.bytes
  const together = isWords ? 2 : product.tiling.rows
  const whole = e.bind(op("i32.and", rowCount, i32(-together)))
  e.loop(i32(0), e.div(e.add(count, e.sub(size, i32(1))), size), 1, (n) => {
    const some = part(frame, product, e.mul(n, size), size)
    if (isWords) e.loop(i32(0), whole, 2, (row) => addRows(frame, some, [row, e.add(row, i32(1))]))
    else addTiles(frame, some, whole)
    e.loop(whole, rowCount, 1, (row) => addRows(frame, some, [row]))
  })
}

/** Keys that less than four rows take together: few, so that memory is read as one stream. */
const blockOfKeys = 8

/** The product with some of the keys. */
const part = ({ e }: Frame, product: Product, from: I, size: I): Product => ({
  ...product,
  weights: e.add(product.weights, e.mul(from, i32(4))),
  values: e.add(product.values, e.mul(from, i32(product.step))),
  count: e.min(size, e.sub(product.count, from)),
  factor: (row) => select(product.factor(row), splatF32(1), op("i32.eqz", from))
})

/** Where the sums of a panel lie. */
const sumsAt = ({ e }: Frame, { sums, sumStride }: Product, row: I, panel: I): I =>
  e.add(e.add(sums, e.mul(panel, i32(4 * tileColumns))), e.mul(row, sumStride))

const weightsAt = ({ e }: Frame, { weights, weightStride }: Product, row: I): I =>
  e.add(weights, e.mul(row, i32(weightStride)))

const valuesAt = ({ e }: Frame, { values, panelBytes }: Product, panel: I): I =>
  e.add(values, e.mul(panel, panelBytes))

/** A tile of rows and one panel. */
const addTile = (frame: Frame, p: Product, first: I, panel: I): void => {
  const { e } = frame
  const rows = Array.from({ length: p.tiling.rows }, (_, r) => e.add(first, i32(r)))
  const places = rows.map((row) => sumsAt(frame, p, row, panel))
  const tile = rows.map((row, r) => {
    const factor = e.now(p.factor(row))
    const sum = (half: number) => e.variable(op("f32x4.mul", load("v128.load", places[r] as I, half), factor))
    return [sum(0), sum(16)] as const
  })
  accumulate(
    e,
    tile,
    { start: weightsAt(frame, p, first), step: 4, row: (r) => p.weightStride * r },
    { start: valuesAt(frame, p, panel), step: p.step, vectors: p.vectors },
    p.count
  )
  const sums = tile.flatMap((row, r) => row.map((sum, n) => ({ sum, at: places[r] as I, offset: 16 * n })))
  const last = e.min(p.rowCount, e.add(first, i32(p.tiling.rows)))
  keep(frame, p, sums, () => e.loop(first, last, 1, (row) => oneByOne(frame, p, row, panel)))
}

/** Panels whose sums so many rows keep in registers: as many chains of additions as hide how long one takes. */
const widest = { 1: 4, 2: 3 } as const

/** Numbers that add up to a sum, of at most so much, as equal as can be: the larger ones, then those that are smaller by 1. */
const divided = (sum: number, most: number) => {
  const count = Math.ceil(sum / most)
  const large = Math.ceil(sum / count)
  return { large, many: sum - count * (large - 1), count }
}

/** One row or two, with as many panels at a time as fit. */
const addRows = (frame: Frame, p: Product, rows: readonly [I] | readonly [I, I]): void => {
  const { e } = frame
  const factors = rows.map((row) => e.now(p.factor(row)))
  const some = (first: I, count: number): void => {
    const own = rows.map((row, r) => {
      const at = sumsAt(frame, p, row, first)
      const sums = Array.from({ length: 2 * count }, (_, n) => ({
        sum: e.variable(op("f32x4.mul", load("v128.load", at, 16 * n), factors[r] as V)),
        at,
        offset: 16 * n
      }))
      return { weights: e.variable(weightsAt(frame, p, row)), sums }
    })
    const values = e.variable(valuesAt(frame, p, first))
    e.loop(i32(0), p.count, 1, () => {
      const weights = own.map((row) => e.now(load("v128.load32_splat", row.weights.value)))
      const multiply = (value: V, column: number): void =>
        own.forEach(({ sums }, r) => {
          const { sum } = sums[column] as Sum
          sum.set(madd(e, weights[r] as V, value, sum.value))
        })
      for (let n = 0; n < 2 * count; n += 2) {
        const at = n * p.vectors.bytes
        // Words one after the other, for one register is left.
        const pair = p.vectors.bytes === words.bytes ? undefined : p.vectors.pair(e, values.value, at)
        for (const half of [0, 1] as const)
          multiply(pair?.[half] ?? p.vectors.at(e, values.value, at + 16 * half), n + half)
      }
      for (const row of own) row.weights.set(op("i32.add", row.weights.value, i32(4)))
      values.set(op("i32.add", values.value, i32(p.step)))
    })
    const last = e.add(first, i32(count))
    const all = own.flatMap(({ sums }) => sums)
    keep(frame, p, all, () =>
      e.loop(first, last, 1, (panel) => {
        for (const row of rows) oneByOne(frame, p, row, panel)
      })
    )
  }
  const panels = constantOf(p.panels) as number
  if (panels === 0) return
  const { large, many, count } = divided(panels, widest[rows.length])
  e.loop(i32(0), i32(many * large), large, (panel) => some(panel, large))
  if (count > many) e.loop(i32(many * large), i32(panels), large - 1, (panel) => some(panel, large - 1))
}

/** Sums in registers, and where they come from. */
interface Sum {
  readonly sum: Variable<"v128">
  readonly at: I
  readonly offset: number
}

/** Stores sums, unless what they must not contain may have come into one. */
const keep = ({ e }: Frame, { hidden }: Product, sums: ReadonlyArray<Sum>, again: () => void): void => {
  const isOpen = e.variable(i32(0))
  e.branch(op("v128.any_true", hidden.value), () => {
    const all = sums.map(({ sum }): V => op("f32x4.ne", sum.value, sum.value))
    isOpen.set(
      op(
        "v128.any_true",
        all.reduce((a, b) => op("v128.or", a, b))
      )
    )
  })
  e.branch(isOpen.value, again, () => {
    for (const { sum, at, offset } of sums) e.line(store("v128.store", at, sum.value, offset))
  })
}

/** The pairs of a row that take part, and one panel. */
const oneByOne = (frame: Frame, p: Product, row: I, panel: I): void => {
  const { e } = frame
  const to = sumsAt(frame, p, row, panel)
  const [weights, values] = [weightsAt(frame, p, row), valuesAt(frame, p, panel)]
  const factor = e.now(p.factor(row))
  const sums = halves.map((half) => e.variable(op("f32x4.mul", load("v128.load", to, half), factor)))
  e.loop(i32(0), p.count, 1, (key) => {
    const at = e.add(weights, e.mul(key, i32(4)))
    e.branch(op("i32.ne", load("i32.load", at), i32(noPart)), () => {
      const weight = e.now(load("v128.load32_splat", at))
      const value = e.add(values, e.mul(key, i32(p.step)))
      const both = p.vectors.pair(e, value)
      sums.forEach((sum, n) => {
        sum.set(madd(e, weight, both[n] as V, sum.value))
      })
    })
  })
  sums.forEach((sum, n) => {
    e.line(store("v128.store", to, sum.value, 16 * n))
  })
}
