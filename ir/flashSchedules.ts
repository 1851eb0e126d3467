import type * as DType from "./DType.ts"
import * as Budget from "./flashBudget.ts"
import { haveQuads, type Limits } from "./Limits.ts"
import { among, type Reason, tooManyBytes, tooManyThreads } from "./refusals.ts"
import type { Arithmetic, Flash, FlashDecode, FlashPrefill } from "./Schedule.ts"

/**
 * All schedules of attention there are. Each number of one is of a short list, so that they can be counted, listed and run, every one of them
 * (`npm run schedules`): what no test can reach is no schedule. `illegal` says why something is none, or why a device cannot run it.
 */
const sizes = {
  threads: [1, 2, 4, 8, 16, 32, 64, 128, 256],
  /** Of tiles in workgroup memory. */
  rows: [4, 8, 16, 32, 64, 128, 256],
  keys: [1, 2, 4, 8, 16, 32, 64],
  /** Of a thread that owns its rows, which are any number up to `Budget.mostOwned`. */
  ownedKeys: [1, 2, 4, 8, 16],
  ownedThreads: [1, 2, 4, 8, 16, 32, 64],
  keysPerSplit: [1, 4, 16, 64, 128, 256],
  maxSplits: [1, 4, 64]
} as const

/** Packed rows of a decode variant are any number up to this: a thread keeps them all in registers. */
export const mostDecodeRows = 16

/** A part of a schedule, for head sizes: what its tile is made of. */
interface Place {
  readonly limits: Limits
  readonly D: Budget.HeadSizes
  readonly E: number
}

/** Why threads cannot own rows so. */
const illegalOwned = (cut: FlashPrefill, { limits, D, E }: Place): Reason => {
  const { rows, keys, threads, quads, arithmetic } = cut
  const own = rows / threads
  if (arithmetic !== undefined) return "threads that own rows multiply in float32"
  if (quads && !haveQuads(limits)) return "threads cannot pass on what they load"
  if (quads && threads !== 4) return `four threads share what they load, not ${threads}`
  if (!Number.isInteger(own) || own < 1 || own > Budget.mostOwned)
    return `${rows} rows are not 1 to ${Budget.mostOwned} for each of ${threads} threads`
  const written = own * keys * Budget.writtenPerPair(quads, D, E)
  if (written > Budget.maxWritten)
    return `a thread would write out ${written} multiply-adds, more than ${Budget.maxWritten}`
  return among(threads, sizes.ownedThreads, "threads that own rows") ?? among(keys, sizes.ownedKeys, "keys")
}

/** Why threads cannot share rows so. */
const illegalStaged = (cut: FlashPrefill, { D, E }: Place): Reason => {
  const { rows, keys, threads, quads } = cut
  if (quads) return "threads that share rows do not pass on what they load"
  const listed =
    among(rows, sizes.rows, "rows") ??
    among(keys, sizes.keys, "keys") ??
    among(threads, sizes.threads, "threads")
  if (listed !== undefined) return listed
  return Budget.prefillTile(cut, D, E) === undefined
    ? `${threads} threads cannot share ${rows} rows and ${keys} keys evenly, or in too many registers`
    : undefined
}

const illegalPrefill = (cut: FlashPrefill, place: Place): Reason => {
  const refused =
    tooManyThreads(cut.threads, place.limits) ??
    (cut.tiles === "registers" ? illegalOwned : illegalStaged)(cut, place)
  if (refused !== undefined) return refused
  const tile = Budget.prefillTile(cut, place.D, place.E) as Budget.Tile
  return tooManyBytes(Budget.tileBytes(tile, place.D, place.E), place.limits)
}

const illegalSplits = ({ keysPerSplit, maxSplits }: FlashDecode): Reason =>
  among(keysPerSplit, sizes.keysPerSplit, "keys of a split") ?? among(maxSplits, sizes.maxSplits, "splits")

/** Of the variant for at most `rows` packed rows. */
const illegalDecode = (cut: FlashDecode, rows: number, { limits, D, E }: Place): Reason => {
  const { threads, tiles, subgroup, quads } = cut
  if (!Number.isInteger(rows) || rows < 1 || rows > mostDecodeRows)
    return `${rows} rows of decode are not 1 to ${mostDecodeRows}`
  const listed = tiles === "registers" ? sizes.ownedThreads : sizes.threads
  const refused = tooManyThreads(threads, limits) ?? among(threads, listed, "threads of decode")
  if (refused !== undefined) return refused
  if (subgroup === true && tiles === "registers") return "threads that own rows add up nothing together"
  if (subgroup === true && !Budget.areSubgroup(threads, limits))
    return `${threads} threads may be more than one subgroup`
  if (quads === true && !haveQuads(limits)) return "threads cannot pass on what they load"
  if (quads === true && (tiles === "workgroup" || threads !== 4))
    return "four threads that own rows share keys, and no others"
  const tile = Budget.decodeTile(cut, rows, D, E)
  return tile === undefined
    ? `decode of ${rows} rows needs too many registers`
    : tooManyBytes(Budget.tileBytes(tile, D, E), limits)
}

/** Whether a device can run a schedule for these head sizes: `undefined`, or the reason why not. */
export const illegal = (
  schedule: Flash,
  limits: Limits,
  D: Budget.HeadSizes,
  E: number,
  dtype: DType.DType,
  group?: number
): string | undefined => {
  if (dtype === "f64") return "f64 does not run on a device"
  if (![...Budget.each(D), E].every((size) => Number.isInteger(size) && size >= 1 && size <= 256))
    return `head sizes ${Budget.each(D).join(", ")} and ${E} are not from 1 to 256`
  const { prefill, decode, decodeRows, short } = schedule
  const place = { limits, D, E }
  const refused = illegalPrefill(prefill, place) ?? illegalSplits(decode)
  if (refused !== undefined) return refused
  const counts = decodeRows === 0 ? [] : [decodeRows, Math.min(decodeRows, group ?? decodeRows)]
  for (const rows of counts) {
    const why = illegalDecode(decode, rows, place)
    if (why !== undefined) return why
  }
  if (short === undefined) return undefined
  if (short.tiles === "registers") return "threads that own rows do not split keys"
  if (short.rows <= decodeRows) return `short queries of ${short.rows} rows run decode of ${decodeRows}`
  const why = illegalPrefill(short, place)
  return why === undefined ? undefined : `short queries: ${why}`
}

export const legal = (...about: Parameters<typeof illegal>): boolean => illegal(...about) === undefined

/** The variant of a schedule that a test is after. */
export const variants = ["prefill", "decode", "short"] as const

export type Variant = (typeof variants)[number]

const least: Flash = {
  kind: "flash",
  prefill: { rows: 4, keys: 1, threads: 4, tiles: "registers", quads: false },
  decode: { threads: 4, tiles: "registers", keysPerSplit: 64, maxSplits: 64 },
  decodeRows: 0
}

const product = <A, B>(a: ReadonlyArray<A>, b: ReadonlyArray<B>): ReadonlyArray<readonly [A, B]> =>
  a.flatMap((x) => b.map((y) => [x, y] as const))

const staged = (arithmetic: Arithmetic): ReadonlyArray<FlashPrefill> =>
  product(sizes.rows, product(sizes.keys, sizes.threads)).map(([rows, [keys, threads]]) => ({
    ...{ rows, keys, threads, tiles: "workgroup", quads: false },
    ...(arithmetic === "f16" ? { arithmetic } : {})
  }))

const owned: ReadonlyArray<FlashPrefill> = product([false, true], sizes.ownedThreads).flatMap(
  ([quads, threads]) =>
    product(
      Array.from({ length: Budget.mostOwned }, (_, i) => i + 1),
      sizes.ownedKeys
    ).map(([rows, keys]) => ({ rows: rows * threads, keys, threads, tiles: "registers", quads }))
)

const splits = product(sizes.keysPerSplit, sizes.maxSplits)

const decodes: ReadonlyArray<FlashDecode> = splits.flatMap(([keysPerSplit, maxSplits]) => [
  ...sizes.ownedThreads.map((threads) => ({ threads, tiles: "registers", keysPerSplit, maxSplits }) as const),
  { threads: 4, tiles: "registers", keysPerSplit, maxSplits, quads: true },
  ...sizes.threads.flatMap((threads) => {
    const cut = { threads, tiles: "workgroup", keysPerSplit, maxSplits } as const
    return [cut, { ...cut, subgroup: true } as const]
  })
])

/**
 * Every legal schedule for head sizes, by the variant of it that differs: kernels of one variant do not depend on the others, so these are all kernels
 * that schedules have. What multiplies in f16 are tiles in workgroup memory.
 */
export const all = (
  variant: Variant,
  limits: Limits,
  D: Budget.HeadSizes,
  E: number,
  arithmetic: Arithmetic = "f32"
): ReadonlyArray<Flash> => {
  const rows = Array.from({ length: mostDecodeRows }, (_, i) => i + 1)
  const any: { readonly [V in Variant]: () => ReadonlyArray<Flash> } = {
    prefill: () =>
      [...(arithmetic === "f16" ? [] : owned), ...staged(arithmetic)].map((prefill) => ({
        ...least,
        prefill
      })),
    decode: () => product(decodes, rows).map(([decode, decodeRows]) => ({ ...least, decode, decodeRows })),
    short: () => {
      const place = { limits, D, E }
      const cuts = staged(arithmetic).filter((cut) => illegalPrefill(cut, place) === undefined)
      return product(cuts, splits).map(([short, [keysPerSplit, maxSplits]]) => ({
        ...least,
        short,
        decode: { ...least.decode, keysPerSplit, maxSplits }
      }))
    }
  }
  return any[variant]().filter((schedule) => legal(schedule, limits, D, E, "f32"))
}
