import { haveQuads, type Limits } from "./Limits.ts"
import { tileElements } from "./matmulSchedule.ts"
import { among, type Reason, tooManyBytes, tooManyThreads } from "./refusals.ts"
import type { Arithmetic, Matmul, MatmulSplit, MatmulTile } from "./Schedule.ts"

/**
 * All schedules of products there are, as `flashSchedules.ts` has them of attention: what kernels are made of is of short lists, so that all kernels can be
 * listed and run. How many rows a variant is for is in no kernel, and any count.
 */
const powers = (most: number): ReadonlyArray<number> =>
  Array.from({ length: Math.log2(most) + 1 }, (_, i) => 2 ** i)

/** Each kind has kernels of its own: of tiles in workgroup memory, or of a thread's own. */
const sizes = {
  gpu: { side: powers(64), part: powers(8), depth: [4, 8, 16, 32] },
  cpu: { side: powers(32), part: powers(32), depth: [4] }
} as const

const vectors = { threads: powers(256), columns: powers(8) } as const

const splits = { depth: [1, 4, 64, 256], most: Array.from({ length: 16 }, (_, i) => i + 1) } as const

const fits = (threads: number, bytes: number, limits: Limits): Reason =>
  tooManyThreads(threads, limits) ?? tooManyBytes(bytes, limits)

/** Why a device cannot run a schedule of one or of several products side by side; undefined where it can. */
export const illegalMatmul = (schedule: Matmul, limits: Limits, products = 1): string | undefined => {
  const { vector, few } = schedule
  const counts = [vector.rows, few?.rows ?? 0, schedule.split?.rows ?? 0, few?.tile.split?.rows ?? 0]
  if (!counts.every((n) => Number.isInteger(n) && n >= 0)) return "rows are counts"
  const refused = illegalVector(vector, limits, products) ?? illegalTile(schedule, limits, products)
  if (refused !== undefined || few === undefined) return refused
  const why = illegalTile(few.tile, limits, products)
  return why === undefined ? undefined : `few rows: ${why}`
}

const illegalVector = (
  { threads, share, columns }: Matmul["vector"],
  limits: Limits,
  products: number
): Reason =>
  among(threads, vectors.threads, "threads of few rows") ??
  among(share, vectors.threads, "threads that share a sum") ??
  among(columns, vectors.columns, "columns of few rows") ??
  (share > threads ? `${share} of ${threads} threads cannot share a sum` : undefined) ??
  fits(threads, share === 1 ? 0 : 4 * threads * columns * products, limits)

const illegalTile = (tile: MatmulTile, limits: Limits, products: number): Reason => {
  const { rows, columns, depth, threadRows, threadColumns, split } = tile
  const { side, part, depth: depths } = sizes[limits.kind]
  return (
    among(rows, side, "rows") ??
    among(columns, limits.kind === "cpu" ? [...side, 64] : side, "columns") ??
    among(depth, depths, "of the depth") ??
    among(threadRows, part, "rows of a thread") ??
    among(threadColumns, limits.kind === "cpu" ? powers(8) : part, "columns of a thread") ??
    (threadRows > rows || threadColumns > columns ? "a part is larger than the whole" : undefined) ??
    (split === undefined
      ? undefined
      : (among(split.depth, splits.depth, "of the depth in a part") ??
        among(split.most, splits.most, "parts"))) ??
    (limits.kind === "cpu" ? illegalOwn : illegalShared)(tile, limits, products)
  )
}

/** Of a thread by itself, or of four that share what they load. */
const illegalOwn = (tile: MatmulTile, limits: Limits): Reason => {
  const { rows, columns, threadRows, threadColumns, quads, arithmetic } = tile
  if (arithmetic === "f16") return "a thread by itself multiplies in float32"
  if (quads && !haveQuads(limits)) return "quads cannot pass on what they load"
  if (quads && threadRows < 4) return "quads have no rows to share"
  return columns === threadColumns * (quads ? 4 : 1) && rows === threadRows
    ? undefined
    : "the tile is not that of one thread, or of a quad"
}

/** Of threads that share tiles in workgroup memory. */
const illegalShared = (tile: MatmulTile, limits: Limits, products: number): Reason => {
  const { rows, columns, depth, threadRows, threadColumns, quads, arithmetic } = tile
  if (quads) return "threads that share tiles do not pass on what they load"
  const largest = arithmetic === "f16" ? 8 * (1 + products) : 0
  const bytes = tileElements(rows, columns, products) * depth * 4 + largest
  return fits((rows / threadRows) * (columns / threadColumns), bytes, limits)
}

/** What of a schedule differs: that of few rows, a tile, or a tile whose sums are split. */
export const matmulVariants = ["vector", "tile", "split"] as const

export type MatmulVariant = (typeof matmulVariants)[number]

const least = {
  kind: "matmul",
  ...{ rows: 4, columns: 4, depth: 4, threadRows: 4, threadColumns: 4, quads: false, split: undefined },
  vector: { rows: 0, threads: 64, share: 1, columns: 1 },
  few: undefined
} as const satisfies Matmul

const allVectors = (): ReadonlyArray<Matmul> =>
  vectors.threads.flatMap((threads) =>
    vectors.threads.flatMap((share) =>
      vectors.columns.map((columns) => ({ ...least, vector: { rows: 64, threads, share, columns } }))
    )
  )

const allTiles = (limits: Limits, arithmetic: Arithmetic): ReadonlyArray<Matmul> => {
  const { side, part, depth: depths } = sizes[limits.kind]
  const half = arithmetic === "f16" ? { arithmetic } : {}
  const own = part.flatMap((rows) =>
    powers(8).flatMap((columns) =>
      [false, true].map((quads) => ({
        ...{ rows, columns: columns * (quads ? 4 : 1), depth: 4 },
        ...{ threadRows: rows, threadColumns: columns, quads }
      }))
    )
  )
  const shared = side.flatMap((rows) =>
    side.flatMap((columns) =>
      part.flatMap((threadRows) =>
        part.flatMap((threadColumns) =>
          depths.map((depth) => ({ rows, columns, depth, threadRows, threadColumns, quads: false }))
        )
      )
    )
  )
  return (limits.kind === "cpu" ? own : shared).map((tile) => ({ ...least, ...tile, ...half }))
}

const allSplits: ReadonlyArray<MatmulSplit> = splits.depth.flatMap((depth) =>
  splits.most.map((most) => ({ rows: 64, depth, most }))
)

/** Every legal schedule of a product, by the variant of it that differs, for calls of at most 64 rows. */
export const allMatmuls = (
  variant: MatmulVariant,
  limits: Limits,
  arithmetic: Arithmetic = "f32"
): ReadonlyArray<Matmul> => {
  const any = {
    vector: allVectors,
    tile: () => allTiles(limits, arithmetic),
    split: () =>
      allTiles(limits, arithmetic)
        .filter((schedule) => illegalMatmul(schedule, limits) === undefined)
        .flatMap((schedule) => allSplits.map((split) => ({ ...schedule, split })))
  }
  return any[variant]().filter((schedule) => illegalMatmul(schedule, limits) === undefined)
}
