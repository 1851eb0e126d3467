import { asSubgroup, each, type HeadSizes, writtenPerPair } from "./flashBudget.ts"
import { legal, mostDecodeRows } from "./flashSchedules.ts"
import { haveQuads, type Limits } from "./Limits.ts"
import type { Arithmetic, Flash, FlashPrefill, FlashTiles } from "./Schedule.ts"

/** Multiply-adds that are worth their compile time where a tile writes them out: a software device takes about 6000 a second. */
const wantedWritten = 2048
/** Without neighbours there are more loads to compile. */
const wantedAlone = 1792

type Prefill = readonly [rows: number, keys: number, threads: number]

/** Rows and keys of a tile in workgroup memory, and threads, the best first. */
const staged: ReadonlyArray<Prefill> = [
  [64, 32, 128],
  [64, 16, 128],
  [32, 32, 128],
  [32, 16, 128],
  [32, 16, 64],
  [16, 16, 64],
  [32, 8, 64],
  [16, 8, 64],
  [8, 8, 64],
  [8, 4, 32],
  [4, 4, 16]
]

/** Tiles in registers. Workgroups are small: no thread of one leaves before the last. More rows for a thread are faster, and compile longer. */
const owning: ReadonlyArray<Prefill> = [
  [32, 4, 4],
  [32, 2, 4],
  [16, 2, 4],
  [16, 1, 4],
  [8, 2, 4],
  [4, 2, 4],
  [4, 1, 4]
]

/** The same where no neighbours share what they load: there rows are worth more than keys, for a number is loaded for them alone. */
const owningAlone: ReadonlyArray<Prefill> = [
  [28, 2, 4],
  [32, 1, 4],
  [16, 1, 4],
  [8, 1, 4],
  [4, 1, 4]
]

/** A cut whose products are in f16 where it can have such. */
export const multiplyingIn = (cut: FlashPrefill, arithmetic: Arithmetic): FlashPrefill =>
  arithmetic === "f16" && cut.tiles === "workgroup" ? { ...cut, arithmetic } : cut

/** What is tried for prefill on a kind of device, in order. */
export const candidates = (
  limits: Limits,
  D: HeadSizes,
  E: number,
  arithmetic: Arithmetic = "f32"
): ReadonlyArray<FlashPrefill> => {
  const of =
    (tiles: FlashTiles, quads: boolean) =>
    ([rows, keys, threads]: Prefill): FlashPrefill =>
      multiplyingIn({ rows, keys, threads, tiles, quads }, arithmetic)
  if (limits.kind === "gpu") return staged.map(of("workgroup", false))
  // Neighbours share four vectors at a time: of one alone there is nothing to share.
  const fills = [...each(D), E].every((size) => size > 4)
  const quads = haveQuads(limits) && fills
  const most = quads ? wantedWritten : wantedAlone
  const tiles = quads ? owning : owningAlone
  const wanted = tiles.filter(
    ([rows, keys, threads]) => (rows / threads) * keys * writtenPerPair(quads, D, E) <= most
  )
  return [...wanted, ...tiles.slice(-1)].map(of("registers", quads))
}

const decodes = {
  cpu: { tiles: "registers", threads: [4], rows: 4, keysPerSplit: 64, maxSplits: 64 },
  gpu: { tiles: "workgroup", threads: [64, 32, 128], rows: 8, keysPerSplit: 64, maxSplits: 64 }
} as const

/** Rows of a short query: a prefill of fewer would leave most of a GPU idle, which splits of the keys keep busy. */
const mostShortRows = 32

/** A schedule that the device can run, the best known first. Every device of WebGPU's least limits can run one for any head size. */
export const choose = (
  limits: Limits,
  D: HeadSizes,
  E: number,
  group?: number,
  arithmetic: Arithmetic = "f32"
): Flash => {
  const { rows: wanted, keysPerSplit, maxSplits, threads: counts, tiles } = decodes[limits.kind]
  const fits = (schedule: Flash): boolean => legal(schedule, limits, D, E, "f32", group)
  const without = { threads: counts[0], tiles, keysPerSplit, maxSplits }
  const all = candidates(limits, D, E, arithmetic)
  const fitting = (prefill: FlashPrefill): boolean =>
    fits({ kind: "flash", prefill, decode: without, decodeRows: 0 })
  const prefill = all.find(fitting)
  if (prefill === undefined)
    throw new Error(`no flash schedule fits head sizes ${each(D).join(", ")} and ${E}`)
  const neighbours = prefill.quads ? ({ quads: true } as const) : {}
  const shorter = all.find((p) => p.tiles === "workgroup" && p.rows <= mostShortRows && fitting(p))
  const shortAbove = (rows: number) =>
    shorter === undefined || shorter.rows <= rows ? {} : { short: shorter }
  const least = group ?? 1
  for (const decodeRows of [Math.max(least, wanted), least]) {
    for (const threads of counts) {
      const decode = { ...asSubgroup({ threads, tiles, keysPerSplit, maxSplits }, limits), ...neighbours }
      const schedule: Flash = { kind: "flash", prefill, decode, decodeRows, ...shortAbove(decodeRows) }
      if (decodeRows <= mostDecodeRows && fits(schedule)) return schedule
    }
  }
  return { kind: "flash", prefill, decode: without, decodeRows: 0, ...shortAbove(0) }
}
