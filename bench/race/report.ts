/** What a run says: a table with bars for each case, how far ahead Effuse is, and one last line. */
import { table } from "../../src/cli/table.ts"
import { type Case, flopsOf } from "../cases/cases.ts"
import { geometricMean } from "./statistics.ts"
import type { Entry } from "./turns.ts"

export interface Result {
  readonly case: Case
  readonly entries: ReadonlyArray<Entry>
}

const blocks = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"]

/** A part of `width` characters, to an eighth of one; something is always there. */
export const bar = (part: number, width: number): string => {
  const eighths = Math.max(1, Math.round(Math.min(1, part) * width * 8))
  return "█".repeat(Math.floor(eighths / 8)) + (blocks[eighths % 8] as string)
}

/** Three digits that count. */
export const digits = (x: number): string =>
  x >= 100 ? Math.round(x).toLocaleString("en") : x >= 10 ? x.toFixed(1) : x.toFixed(2)

const states = { wrong: "WRONG", cannot: "cannot", failed: "failed", slow: "too slow" } as const

/** The bar is how fast a contender is, beside the fastest correct one. */
export const caseText = ({ case: c, entries }: Result): string => {
  const right = entries.filter((e) => e.state === "right")
  const fastest = Math.min(...right.map((e) => e.time?.median ?? Infinity))
  const rows = entries.map((e) => {
    const { time, cold, state } = e
    if (time === undefined)
      return [`  ${e.contender}`, states[state as keyof typeof states], "", "", "", e.note]
    const spread = time.count === 1 ? "one call" : `${digits(time.low)} to ${digits(time.high)}`
    const speed = `${digits(flopsOf(c) / time.median / 1e6)} GFLOP/s`
    const began =
      cold === undefined ? "" : `cold ${digits(cold.prepare + cold.first)}, compile ${digits(cold.prepare)}`
    const wrong = state === "wrong" ? `WRONG: ${e.note} ` : ""
    const shown = wrong === "" ? bar(fastest / time.median, 24) : wrong
    return [
      `  ${e.contender}`,
      `${digits(time.median)} ms`,
      spread,
      speed,
      began,
      `${shown} ${e.variant}`.trimEnd()
    ]
  })
  return `${c.name}, ${digits(flopsOf(c) / 1e9)} GFLOP\n${table(rows, [1, 3])}`
}

/** How many times faster Effuse is than the best correct of the peers; undefined where there is none, or Effuse is wrong. */
export const lead = (
  entries: ReadonlyArray<Entry>,
  threads: number | undefined,
  of: (peer: string) => boolean
): { readonly times: number; readonly peer: string } | undefined => {
  const right = entries.filter((e) => e.state === "right" && e.threads === threads && e.time !== undefined)
  const own = right.find((e) => e.peer === "effuse")?.time?.median
  const best = right
    .filter((e) => e.peer !== "effuse" && of(e.peer))
    .sort((a, b) => (a.time?.median ?? 0) - (b.time?.median ?? 0))[0]
  if (own === undefined || best?.time === undefined) return undefined
  return { times: best.time.median / own, peer: best.contender }
}

const times = (x: number | undefined): string => (x === undefined ? "–" : `${x.toFixed(2)}×`)

/** The mean over the cases that count as `kind`, of those that have a correct peer. */
const mean = (
  results: ReadonlyArray<Result>,
  kind: "prefill" | "decode",
  threads: number | undefined,
  of: (peer: string) => boolean
): string => {
  const counted = results.filter((r) => r.case.kind === "attention" && r.case.counts === kind)
  const ratios = counted.flatMap((r) => lead(r.entries, threads, of)?.times ?? [])
  return times(geometricMean(ratios))
}

const isNative = (peer: string): boolean => peer === "onnxruntime-node"
const isWasm = (peer: string): boolean => !isNative(peer)
const isPublished = (peer: string): boolean => peer !== "plain"

/** The most threads that Effuse ran with: equal counts are compared. */
export const threadsOf = (results: ReadonlyArray<Result>): number | undefined =>
  results
    .flatMap((r) => r.entries)
    .filter((e) => e.peer === "effuse" && e.time !== undefined)
    .reduce<number | undefined>(
      (most, e) => (e.threads === undefined ? most : Math.max(most ?? 0, e.threads)),
      undefined
    )

export const cpuLine = (results: ReadonlyArray<Result>): string => {
  const threads = threadsOf(results)
  const both = (of: (peer: string) => boolean): string =>
    `prefill ${mean(results, "prefill", threads, of)} decode ${mean(results, "decode", threads, of)}`
  return `bench cpu: ${both(isWasm)} of the best wasm peer, ${both(isNative)} of native`
}

export const gpuLine = (results: ReadonlyArray<Result>): string => {
  const of = (kind: "prefill" | "decode"): string => mean(results, kind, undefined, isPublished)
  return `bench: prefill ${of("prefill")} decode ${of("decode")} of the best correct WebGPU peer`
}

/** Each case: times the best peer, and a bar of it. */
export const leads = (
  results: ReadonlyArray<Result>,
  of: ReadonlyArray<readonly [title: string, of: (peer: string) => boolean]>
): string => {
  const threads = threadsOf(results)
  const rows = results.flatMap(({ case: c, entries }) =>
    of.map(([title, which], n) => {
      const found = lead(entries, threads, which)
      const name = n === 0 ? c.name : ""
      if (found === undefined) return [name, title, "–", "no correct peer"]
      return [name, title, times(found.times), `${bar(found.times / 8, 32)} ${found.peer}`]
    })
  )
  return table(rows, [2])
}

export const cpuLeads = (results: ReadonlyArray<Result>): string =>
  leads(results, [
    ["of wasm", isWasm],
    ["of native", isNative]
  ])

export const gpuLeads = (results: ReadonlyArray<Result>): string =>
  leads(results, [
    ["of the best peer", isPublished],
    ["of the plain kernel", (peer) => peer === "plain"]
  ])
