import type { Limits } from "./Limits.ts"
import type { Flash, FlashDecode, FlashPrefill } from "./Schedule.ts"

/**
 * How a flash schedule divides its work among threads, what that costs in registers and workgroup memory, and so which
 * schedules a device can run. Pure arithmetic: a pass chooses a schedule with it and the backend builds the kernel from it.
 *
 * A workgroup holds a tile of `rows` packed query rows by `keys` keys. For the logits its threads form a grid of `rowGroups` by `columns`; a
 * thread computes `threadRows` neighbouring rows against `threadKeys` keys. For the product with V the same threads form
 * `rowGroups` by `slices` by `valueColumns`; a thread sums every `slices`-th key into `threadRows` rows of `chunks` vectors of four
 * value elements. Where a thread owns its rows, it does all of that alone. D is the head size, or those of all logits that a pair has; E the value
 * head size, both in elements.
 */
export interface Tile {
  /** Rows of the tile; a multiple of four for the layout, of which `usedRows` hold data. */
  readonly rows: number
  readonly usedRows: number
  readonly keys: number
  readonly threads: number
  readonly rowGroups: number
  readonly columns: number
  readonly threadRows: number
  readonly threadKeys: number
  readonly valueColumns: number
  readonly slices: number
  readonly chunks: number
  /** Logits of a pair. */
  readonly terms: number
  /** Whether K and V tiles are staged in workgroup memory. */
  readonly staged: boolean
  /** Whether each thread owns whole rows and shares nothing, or only what four neighbours load. */
  readonly owned: boolean
  readonly quads: boolean
  /** Whether four neighbours have the same rows, each a quarter of their vectors. */
  readonly shared: boolean
  /** Whether the threads are one subgroup. */
  readonly subgroup: boolean
  /** Whether staged tiles are f16, and multiplied so. */
  readonly half: boolean
}

/** Floats that a thread keeps in registers for the whole tile, where threads share rows. More spill. */
const maxRegisters = 320
const maxRegistersStaged = 160

/** Multiply-adds that a tile of its own rows may write out. */
export const maxWritten = 8192

/** Rows of a thread that owns them, and keys that it takes at a time, are in the names of variables. */
export const mostOwned = 16

/** Threads that share a row reduce over this many partial values at once; more of them are folded first. */
export const reductionWidth = 8

const vectors = (elements: number): number => Math.ceil(elements / 4)

/** The head size, or one for each logit. */
export type HeadSizes = number | ReadonlyArray<number>

export const each = (D: HeadSizes): ReadonlyArray<number> => (typeof D === "number" ? [D] : D)

/** Products in f16 are summed up apart before they join their sums: two registers more for four of them. */
const registers = (t: Tile): number => {
  const parts = t.half ? Math.max(2 * t.chunks, 2 * t.threadKeys) : 0
  return t.threadRows * (t.chunks * 4 + t.threadKeys * t.terms + parts)
}

const divisors = (n: number): ReadonlyArray<number> =>
  Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0)

const isCount = (n: number): boolean => Number.isInteger(n) && n >= 1

/** Vectors of four elements of a row that a thread keeps: a multiple of four where neighbours share what they load. */
export const ownedVectors = (elements: number, quads: boolean): number =>
  quads ? Math.ceil(elements / 16) * 4 : vectors(elements)

/** Multiply-adds that a tile of its own rows writes out for each pair of a row and a key. */
export const writtenPerPair = (quads: boolean, D: HeadSizes, E: number): number =>
  [...each(D), E].reduce((sum, size) => sum + 4 * ownedVectors(size, quads), 0)

/** Threads that own whole rows: `threadRows` each, in `rowGroups` groups. */
const owned = (
  threadRows: number,
  rowGroups: number,
  keys: number,
  threads: number,
  quads: boolean,
  D: HeadSizes,
  E: number
): Tile | undefined => {
  if (threadRows > mostOwned || keys > mostOwned) return undefined
  if (threadRows * keys * writtenPerPair(quads, D, E) > maxWritten) return undefined
  return {
    rows: threadRows * rowGroups,
    usedRows: threadRows * rowGroups,
    keys,
    threads,
    rowGroups,
    columns: 1,
    threadRows,
    threadKeys: keys,
    valueColumns: 1,
    slices: 1,
    chunks: ownedVectors(E, quads),
    terms: each(D).length,
    staged: false,
    owned: true,
    quads,
    shared: false,
    subgroup: false,
    half: false
  }
}

/** Calls of fewer rows leave it to each thread to weigh keys of its own. */
const leastShared = 3

/** Four threads that share their rows: of every four keys each weighs one, of every vector of each it multiplies a quarter. */
const shared = (rows: number, D: HeadSizes, E: number): Tile | undefined => {
  const alone = owned(rows, 1, 1, 4, true, D, E)
  return alone && { ...alone, keys: 4, chunks: alone.chunks / 4, shared: true }
}

const tile = (
  rows: number,
  usedRows: number,
  keys: number,
  threads: number,
  rowGroups: number,
  staged: boolean,
  half: boolean,
  D: HeadSizes,
  E: number
): Tile => {
  const columns = threads / rowGroups
  const needed = vectors(E)
  const valueColumns = divisors(columns).find((d) => d >= needed) ?? columns
  return {
    rows,
    usedRows,
    keys,
    threads,
    rowGroups,
    columns,
    threadRows: rows / rowGroups,
    threadKeys: keys / columns,
    valueColumns,
    slices: columns / valueColumns,
    chunks: Math.ceil(needed / valueColumns),
    terms: each(D).length,
    staged,
    owned: false,
    quads: false,
    shared: false,
    subgroup: false,
    half
  }
}

/** Floats read for each pair of a row and a key: what the shape of the thread grid is chosen by. */
const readsPerPair = (t: Tile, D: HeadSizes): number => {
  const sizes = each(D).reduce((sum, size) => sum + size, 0)
  const values = t.valueColumns * (1 + (4 * t.chunks) / t.threadRows)
  return (
    sizes / t.threadKeys + sizes / t.threadRows + values + Math.min(t.columns, reductionWidth) / t.threadKeys
  )
}

/** The thread grid of a prefill schedule, or undefined where its numbers do not fit together or need too many registers. */
export const prefillTile = (schedule: FlashPrefill, D: HeadSizes, E: number): Tile | undefined => {
  const { rows, keys, threads, tiles, quads, arithmetic } = schedule
  if (![rows, keys, threads].every(isCount)) return undefined
  if (tiles === "registers") {
    const fit = arithmetic === undefined && rows % threads === 0 && (!quads || threads % 4 === 0)
    return fit ? owned(rows / threads, threads, keys, threads, quads, D, E) : undefined
  }
  if (quads) return undefined
  const fitting = divisors(threads)
    .filter((groups) => rows % (4 * groups) === 0 && keys % (threads / groups) === 0)
    .map((groups) => tile(rows, rows, keys, threads, groups, true, arithmetic === "f16", D, E))
    .filter((t) => registers(t) <= maxRegistersStaged)
  return fitting.reduce<Tile | undefined>(
    (best, t) => (best === undefined || readsPerPair(t, D) < readsPerPair(best, D) ? t : best),
    undefined
  )
}

/**
 * The thread grid of a decode variant for at most `rows` packed rows: every thread works on all rows, each on keys of its own, straight
 * from storage, so that no key is read twice. With tiles in registers a thread is a split by itself.
 */
export const decodeTile = (
  schedule: FlashDecode,
  rows: number,
  D: HeadSizes,
  E: number
): Tile | undefined => {
  const { threads, keysPerSplit, maxSplits, tiles, subgroup = false, quads = false } = schedule
  if (![threads, keysPerSplit, maxSplits, rows].every(isCount)) return undefined
  if (subgroup && tiles === "registers") return undefined
  if (quads && (tiles !== "registers" || threads !== 4)) return undefined
  if (quads && rows >= leastShared) return shared(rows, D, E)
  if (tiles === "registers") {
    const keys = Math.max(1, Math.min(2, keysPerSplit, Math.floor(mostOwned / rows)))
    return owned(rows, 1, keys, threads, false, D, E)
  }
  const threadKeys = Math.max(1, Math.min(4, Math.floor(keysPerSplit / threads)))
  const t = tile(vectors(rows) * 4, rows, threads * threadKeys, threads, 1, false, false, D, E)
  return registers(t) <= maxRegisters ? { ...t, subgroup } : undefined
}

/** Vectors of workgroup memory in each of the arrays of a tile. */
export const arrays = (t: Tile, D: HeadSizes, E: number) => {
  if (t.owned) return { stage: 0, halves: 0, weights: 0, partial: 0 }
  const staging = t.staged ? t.keys * rowStride(Math.max(...each(D), E)) : 0
  const sums = t.slices > 1 ? t.rows * t.valueColumns * t.chunks : 0
  return {
    /** K or V, and at the end the sums of the slices. */
    stage: t.half ? sums : Math.max(staging, sums),
    /** K or V as vectors of f16. */
    halves: t.half ? staging : 0,
    /** Weights: a column of rows for each key, padded by one so that neighbours fall into different banks. */
    weights: t.keys * weightStride(t),
    /** Partial maxima and sums of the threads that share a row, where they do not tell each other without. */
    partial: t.subgroup ? 0 : (t.columns * t.rows) / 4
  }
}

/** Vectors from one key to the next in the staged tile. */
export const rowStride = (elements: number): number => vectors(elements) + 1

/** Vectors from one key to the next among the weights. */
export const weightStride = (t: Tile): number => t.rows / 4 + (t.columns > 1 ? 1 : 0)

/** Bytes of workgroup memory of one tile; a few words more hold flags, and the largest numbers of tiles in f16. */
export const tileBytes = (t: Tile, D: HeadSizes, E: number): number => {
  if (t.owned) return 0
  const { stage, halves, weights, partial } = arrays(t, D, E)
  const flags = 1 + t.rowGroups + (t.half ? t.terms + 1 : 0)
  return 16 * (stage + weights + partial) + 8 * halves + 4 * flags
}

/**
 * The variants that split keys, by the most packed rows of a call that takes them: decode of one query of a group, of all rows that the
 * schedule allows, then short queries. Sizes that are symbolic are undefined; a tile is where its numbers do not fit together.
 */
export const splitVariants = (
  schedule: Flash,
  D: HeadSizes,
  E: number,
  group: number | undefined,
  queries: number | undefined
): ReadonlyArray<{ readonly most: number; readonly tile: Tile | undefined }> => {
  const { decode, decodeRows, short } = schedule
  const least = Math.max(1, (group ?? 1) * (queries ?? 1))
  const known = group !== undefined && queries !== undefined
  const counts = known || group === undefined || 2 * group > decodeRows ? [least] : [group, decodeRows]
  const rows = least > decodeRows ? [] : group === undefined ? [decodeRows] : counts
  const variants = rows.map((most) => ({ most, tile: decodeTile(decode, most, D, E) }))
  if (short === undefined || least > short.rows || (known && variants.length > 0)) return variants
  return [...variants, { most: short.rows, tile: prefillTile(short, D, E) }]
}

/** The schedule for a kernel that reads this many buffers: one that splits keys writes its result and, with more than one split, its part. */
export const withBuffers = (schedule: Flash, read: number, limits: Limits): Flash => {
  const { kind, prefill, decode } = schedule
  const fits = read + 2 <= limits.maxStorageBuffersPerShaderStage
  return fits ? schedule : { kind, prefill, decode, decodeRows: 0 }
}

/**
 * Bytes of workgroup memory that the largest kernel of a schedule needs, or undefined where a kernel's numbers do not fit together. The dtype
 * does not matter, but the arithmetic does: what is multiplied in float32 is staged so, since a number is then converted once and used many times.
 */
export const workgroupBytes = (
  schedule: Flash,
  D: HeadSizes,
  E: number,
  group?: number
): number | undefined => {
  const tiles = [
    prefillTile(schedule.prefill, D, E),
    ...splitVariants(schedule, D, E, group, undefined).map((variant) => variant.tile)
  ]
  let most = 0
  for (const t of tiles) {
    if (t === undefined) return undefined
    most = Math.max(most, tileBytes(t, D, E))
  }
  return most
}

/** Whether so many threads are certainly one subgroup. */
export const areSubgroup = (threads: number, { subgroups }: Limits): boolean =>
  threads <= (subgroups?.min ?? 0)

/** The same threads as one subgroup, where they certainly are. */
export const asSubgroup = (decode: FlashDecode, limits: Limits): FlashDecode =>
  decode.tiles === "workgroup" && areSubgroup(decode.threads, limits) ? { ...decode, subgroup: true } : decode
