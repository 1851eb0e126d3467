import type { Limits } from "./Limits.ts"
import type { Matmul, MatmulSplit } from "./Schedule.ts"

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
export const matmulSchedule = (limits: Limits, sizes: ProductSizes, products = 1): Matmul => {
  const { rows, columns } = sizes
  const cut =
    limits.kind === "cpu"
      ? forProcessor(limits, rows, columns, products)
      : forGpu(limits, rows, columns, products)
  return { ...cut, split: splitOf(limits, sizes, cut) }
}

type Cut = Omit<Matmul, "split">

/** Workgroups that keep any device busy. */
const enough = { cpu: 16, gpu: 256 } as const

/** The shortest part that is worth the time to write its sums and to read them again. */
const leastDepth = 256

const mostParts = 16

/** Parts for results of so few tiles that most of the device would wait. */
const splitOf = (limits: Limits, sizes: ProductSizes, tile: Cut): MatmulSplit | undefined => {
  const { batch, rows, columns, depth } = sizes
  if (batch === undefined || columns === undefined || (depth ?? Infinity) < 2 * leastDepth) return undefined
  const across = batch * Math.ceil(columns / tile.columns)
  const down = Math.floor(enough[limits.kind] / 2 / Math.max(1, across))
  const least = rows === undefined ? 1 : Math.ceil(rows / tile.rows)
  if (down < least || (rows ?? Infinity) <= tile.vector.rows) return undefined
  const most = Math.min(mostParts, Math.floor(enough[limits.kind] / (across * least)))
  return { rows: down * tile.rows, depth: leastDepth, most }
}

/**
 * A load costs there what twenty multiplications cost, from any memory, so a thread keeps as many results as registers hold. Where subgroups
 * are offered, four threads read rows for each other, and there are registers for more of them.
 */
const forProcessor = (
  limits: Limits,
  m: number | undefined,
  n: number | undefined,
  products: number
): Cut => {
  const threadColumns = fitted(n, 1, 4 / products)
  const subgroups = limits.subgroups !== undefined && limits.subgroups.min >= 4
  const threadRows = fitted(m, 1, subgroups ? 16 : 8)
  const quads = subgroups && threadRows >= 4 && (n === undefined || n >= 16)
  return {
    kind: "matmul",
    rows: threadRows,
    columns: threadColumns * (quads ? 4 : 1),
    depth: 4,
    threadRows,
    threadColumns,
    quads,
    vector: {
      rows: subgroups ? 3 : 1,
      threads: 16,
      share: subgroups ? 4 : 1,
      columns: fitted(n, 1, (subgroups ? 8 : 4) / products)
    }
  }
}

/** Elements of the tiles in workgroup memory, at one depth: lines are padded by one. */
const tileElements = (rows: number, columns: number, products: number): number =>
  rows + 1 + products * (columns + 1)

const forGpu = (limits: Limits, m: number | undefined, n: number | undefined, products: number): Cut => {
  let [rows, columns, depth] = [fitted(m, 4, 64), fitted(n, 4, 64), 16]
  const tooMany = (): boolean => (rows / 4) * (columns / 4) > limits.maxComputeInvocationsPerWorkgroup
  while (tooMany()) [rows, columns] = rows > columns ? [rows / 2, columns] : [rows, columns / 2]
  const most = limits.maxComputeWorkgroupStorageSize / 4
  while (depth > 4 && tileElements(rows, columns, products) * depth > most) depth /= 2
  const vector = { rows: 3, threads: 64, share: 64, columns: 4 }
  return { kind: "matmul", rows, columns, depth, threadRows: 4, threadColumns: 4, quads: false, vector }
}

/** Why a device cannot run a schedule; undefined where it can. */
export const illegalMatmul = (schedule: Matmul, limits: Limits, products = 1): string | undefined => {
  const { rows, columns, depth, threadRows, threadColumns, quads, vector, split } = schedule
  const powers = [
    rows,
    columns,
    depth,
    threadRows,
    threadColumns,
    vector.threads,
    vector.share,
    vector.columns
  ]
  if (!powers.every((n) => Number.isInteger(Math.log2(n)))) return "a size is no power of two"
  if (threadRows > rows || threadColumns > columns || vector.share > vector.threads)
    return "a part is larger than the whole"
  if (split !== undefined && (split.depth < 1 || split.most < 1)) return "parts of nothing"
  const most = limits.maxComputeInvocationsPerWorkgroup
  if (vector.threads > most) return `${vector.threads} threads`
  if (limits.kind === "cpu") {
    if (quads && ((limits.subgroups?.min ?? 0) < 4 || threadRows < 4)) return "quads have no rows to share"
    return columns === threadColumns * (quads ? 4 : 1) && rows === threadRows
      ? undefined
      : "no tile of one thread"
  }
  const threads = (rows / threadRows) * (columns / threadColumns)
  const bytes = tileElements(rows, columns, products) * depth * 4
  if (threads > most) return `${threads} threads`
  return bytes > limits.maxComputeWorkgroupStorageSize ? `${bytes} bytes` : undefined
}
