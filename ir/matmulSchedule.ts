import { haveQuads, type Limits } from "./Limits.ts"
import type { Arithmetic, Matmul, MatmulSplit, MatmulTile } from "./Schedule.ts"

/** The least power of two that is not less, between bounds; the upper one where the size is unknown. */
const fitted = (size: number | undefined, least: number, most: number): number =>
  Math.max(least, Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(1, size ?? most)))))

/** What is known of a product before a call; undefined where lengths decide. */
export interface ProductSizes {
  readonly batch: number | undefined
  readonly rows: number | undefined
  readonly columns: number | undefined
  readonly depth: number | undefined
}

/** Tiles of one or of two products of such sizes. */
export const matmulSchedule = (
  limits: Limits,
  sizes: ProductSizes,
  products = 1,
  arithmetic: Arithmetic = "f32"
): Matmul => {
  const { vector, fewRows, tileOf } = (limits.kind === "cpu" ? forProcessor : forGpu)(limits, products)
  const { rows, columns } = sizes
  const tile = (of: number | undefined): MatmulTile => {
    const cut = tileOf(of, columns)
    const half = arithmetic === "f16" && limits.kind === "gpu" ? { arithmetic } : {}
    return { ...cut, split: splitOf(limits, sizes, cut, vector(columns).rows), ...half }
  }
  const all = { kind: "matmul", vector: vector(columns) } as const
  if (fewRows === undefined) return { ...all, ...tile(rows), few: undefined }
  if (rows === undefined)
    return { ...all, ...tile(rows), few: { rows: fewRows.calls, tile: tile(fewRows.tile) } }
  return { ...all, ...tile(rows <= fewRows.calls ? Math.min(rows, fewRows.tile) : rows), few: undefined }
}

type Cut = Omit<MatmulTile, "split">

/** How a kind of device cuts products. */
interface Cutter {
  readonly vector: (columns: number | undefined) => Matmul["vector"]
  readonly tileOf: (rows: number | undefined, columns: number | undefined) => Cut
  /** Calls of so few rows take tiles of so many. */
  readonly fewRows: { readonly calls: number; readonly tile: number } | undefined
}

/** Workgroups that keep any device busy. */
const enough = { cpu: 16, gpu: 256 } as const

/** The shortest part that is worth the time to write its sums and to read them again. */
const leastDepth = 256

const mostParts = 16

/** Parts for results of so few tiles that most of the device would wait. */
const splitOf = (
  limits: Limits,
  sizes: ProductSizes,
  tile: Cut,
  vectorRows: number
): MatmulSplit | undefined => {
  const { batch, rows, columns, depth } = sizes
  if (batch === undefined || columns === undefined || (depth ?? Infinity) < 2 * leastDepth) return undefined
  const across = batch * Math.ceil(columns / tile.columns)
  // Parts are as many for more rows, where lengths decide how many there are.
  const down = Math.floor(enough[limits.kind] / (rows === undefined ? 4 : 2) / Math.max(1, across))
  const least = rows === undefined ? 1 : Math.ceil(rows / tile.rows)
  if (down < least || (rows ?? Infinity) <= vectorRows) return undefined
  const most = Math.min(mostParts, Math.floor(enough[limits.kind] / (across * least)))
  return { rows: down * tile.rows, depth: leastDepth, most }
}

/**
 * A load costs there what thirty multiplications cost, from any memory, so a thread keeps many results: more than registers hold, since to
 * store a sum and to load it again costs less. Where subgroups are quads, four threads read rows for each other.
 */
const forProcessor = (limits: Limits, products: number): Cutter => {
  const shares = haveQuads(limits)
  return {
    vector: (n) => ({
      rows: shares ? 2 : 1,
      threads: shares ? 4 : 16,
      share: shares ? 4 : 1,
      columns: fitted(n, 1, (shares ? 8 : 4) / products)
    }),
    fewRows: shares ? { calls: 24, tile: 8 } : undefined,
    tileOf: (m, n) => {
      const quads = shares && (m ?? 4) > 2 && (n ?? 16) >= 16
      const threadRows = fitted(m, 1, quads ? 32 : 8)
      const threadColumns = fitted(n, 1, (quads ? 8 : 4) / products)
      const columns = threadColumns * (quads ? 4 : 1)
      return { rows: threadRows, columns, depth: 4, threadRows, threadColumns, quads }
    }
  }
}

/** Elements of the tiles in workgroup memory, at one depth: lines are padded by one. */
export const tileElements = (rows: number, columns: number, products: number): number =>
  rows + 1 + products * (columns + 1)

const forGpu = (limits: Limits, products: number): Cutter => ({
  vector: () => ({ rows: 3, threads: 64, share: 64, columns: 4 }),
  fewRows: { calls: 16, tile: 16 },
  tileOf: (m, n) => {
    let [rows, columns, depth] = [fitted(m, 4, 64), fitted(n, 4, 64), 16]
    const tooMany = (): boolean => (rows / 4) * (columns / 4) > limits.maxComputeInvocationsPerWorkgroup
    while (tooMany()) [rows, columns] = rows > columns ? [rows / 2, columns] : [rows, columns / 2]
    const most = limits.maxComputeWorkgroupStorageSize / 4
    while (depth > 4 && tileElements(rows, columns, products) * depth > most) depth /= 2
    return { rows, columns, depth, threadRows: 4, threadColumns: 4, quads: false }
  }
})

/**
 * One schedule for products of one dispatch: that of the largest tiles, of which there are enough together. A software device compiles their
 * texts one after the other, and takes the longer the more sums a thread has.
 */
export const sharedSchedule = (schedules: ReadonlyArray<Matmul>, limits: Limits): Matmul | undefined => {
  const [first, ...rest] = schedules
  if (first === undefined) return undefined
  const most = rest.reduce((a, b) => (a.rows * a.columns >= b.rows * b.columns ? a : b), first)
  const shared = <T extends MatmulTile>(tile: T): T =>
    limits.kind === "cpu" ? { ...tile, ...smaller(tile), split: undefined } : { ...tile, split: undefined }
  return { ...shared(most), few: most.few && { ...most.few, tile: shared(most.few.tile) } }
}

const smaller = ({ threadRows, threadColumns, quads }: MatmulTile): Partial<MatmulTile> => {
  const [rows, across] = [Math.min(16, threadRows), Math.min(4, threadColumns)]
  return { rows, threadRows: rows, columns: across * (quads ? 4 : 1), threadColumns: across }
}
