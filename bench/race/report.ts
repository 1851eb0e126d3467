/** What a run says: a table with bars for each case, how far ahead Effuse is, and one last line. */
import { table } from "../../src/cli/table.ts"
import { type Case, flopsOf } from "../cases/cases.ts"
import type { LimitsOf } from "../ceilings/limit.ts"
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

export const percent = (part: number): string => `${Math.round(100 * part)} %`

const states = {
  ...{ right: "", closest: "", wrong: "WRONG", cannot: "cannot", failed: "failed" },
  ...{ slow: "too slow", left: "no time left" }
} as const satisfies { readonly [State in Entry["state"]]: string }

/** What is not to be seen from the times. */
const remarks = ({ state, variant, note, wrong = [] }: Entry): string =>
  [
    ...(state === "wrong" ? [`WRONG: ${note}`] : []),
    ...(state === "closest" ? ["stands in:"] : []),
    ...(variant === "" ? [] : [variant]),
    ...(state === "wrong" ? [] : wrong.map((way) => `(${way} is WRONG)`))
  ].join(" ")

/** The bar is how fast a contender is, beside the fastest correct one; its part of the limit is more than all of it where its registers are wider. */
export const caseText = ({ case: c, entries }: Result, limits: LimitsOf): string => {
  const right = entries.filter((e) => e.state === "right")
  const fastest = Math.min(...right.map((e) => e.time?.median ?? Infinity))
  const title = `${c.name}, ${digits(flopsOf(c) / 1e9)} GFLOP`
  const heads = [title, "median", "quarters", "calls", "GFLOP/s", "of limit", "cold", "compile", "of Effuse"]
  const rows = entries.map((e) => {
    const { time, cold, state, threads } = e
    if (time === undefined)
      return [`  ${e.contender}`, states[state], "", "", "", "", "", "", bounded(entries, e), e.note]
    const own = entries.find((x) => x.peer === "effuse" && x.threads === threads)
    const ratio =
      e === own || own?.time === undefined || own.state !== "right"
        ? ""
        : times(time.median / own.time.median)
    const limit = limits(c, threads)
    const shown = state === "wrong" ? "" : `${bar(fastest / time.median, 24)} `
    return [
      ...[`  ${e.contender}`, `${digits(time.median)} ms`],
      ...[time.count === 1 ? "" : `${digits(time.low)} to ${digits(time.high)}`, String(time.count)],
      digits(flopsOf(c) / time.median / 1e6),
      limit === undefined || state === "wrong" ? "" : percent(limit / time.median),
      ...(cold === undefined ? ["", ""] : [digits(cold.prepare + cold.first), digits(cold.prepare)]),
      ...[ratio, `${shown}${remarks(e)}`.trimEnd()]
    ]
  })
  return table([heads, ...rows], [1, 3, 4, 5, 6, 7, 8])
}

/** Of one that was stopped: more than so many times what Effuse takes. */
const bounded = (entries: ReadonlyArray<Entry>, { above, threads }: Entry): string => {
  const own = entries.find((x) => x.peer === "effuse" && x.threads === threads && x.state === "right")?.time
  return above === undefined || own === undefined ? "" : `>${times(above / own.median)}`
}

export interface Lead {
  readonly times: number
  /** Whether it is more: nobody was correct, and that peer was stopped. */
  readonly isMore: boolean
  readonly peer: string
}

const bestOf = (
  entries: ReadonlyArray<Entry>,
  threads: number | undefined,
  isCounted: (entry: Entry) => boolean
): Lead | undefined => {
  const same = entries.filter((e) => e.threads === threads)
  const own = same.find((e) => e.peer === "effuse" && e.state === "right")?.time?.median
  if (own === undefined) return undefined
  const others = same
    .filter((e) => e.peer !== "effuse" && isCounted(e))
    .flatMap((e): ReadonlyArray<Lead> => {
      const [taken, isMore] = e.time === undefined ? [e.above, true] : [e.time.median, false]
      return taken === undefined ? [] : [{ times: taken / own, isMore, peer: e.contender }]
    })
  return others.sort((a, b) => a.times - b.times)[0]
}

/** How many times faster Effuse is than the best correct of the peers; undefined where there is none, or Effuse is wrong. */
export const lead = (
  entries: ReadonlyArray<Entry>,
  threads: number | undefined,
  of: (peer: string) => boolean
): Lead | undefined =>
  bestOf(entries, threads, ({ peer, state }) => of(peer) && (state === "right" || state === "slow"))

/** The same, of those that compute every key before a query where a window is asked for. */
export const leadOfClosest = (entries: ReadonlyArray<Entry>): Lead | undefined =>
  bestOf(entries, undefined, ({ state }) => state === "closest")

/** A ratio; a lead that is more than it is said to be says so. */
export const times = (x: number | Lead | undefined): string => {
  if (x === undefined) return "–"
  return typeof x === "number" ? `${x.toFixed(2)}×` : `${x.isMore ? ">" : ""}${x.times.toFixed(2)}×`
}

/** The mean over the cases that count as `kind`, of those that have a correct peer that was not stopped. */
const mean = (
  results: ReadonlyArray<Result>,
  kind: "prefill" | "decode",
  threads: number | undefined,
  of: (peer: string) => boolean
): string => {
  const counted = results.filter((r) => r.case.kind === "attention" && r.case.counts === kind)
  const found = counted.map((r) => lead(r.entries, threads, of))
  return times(geometricMean(found.flatMap((one) => (one === undefined || one.isMore ? [] : [one.times]))))
}

export const isNative = (peer: string): boolean => peer === "onnxruntime-node"
export const isWasm = (peer: string): boolean => !isNative(peer)
export const isPublished = (peer: string): boolean => peer !== "plain"
export const isPlain = (peer: string): boolean => !isPublished(peer)

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

/** Why there is nobody to be compared with. */
const missing = (entries: ReadonlyArray<Entry>): string => {
  if (entries.length === 0) return "nobody ran"
  if (entries.some((e) => e.state === "slow")) return "too slow to be run"
  return entries.every((e) => e.state === "cannot") ? "cannot" : "no correct peer"
}

/** Each case with a peer: times the best of them, and a bar of it. */
export const leads = (
  results: ReadonlyArray<Result>,
  of: ReadonlyArray<readonly [title: string, of: (peer: string) => boolean]>
): string => {
  const threads = threadsOf(results)
  const raced = results.filter((r) => r.entries.some((e) => e.peer !== "effuse"))
  const rows = raced.flatMap(({ case: c, entries }) =>
    of.map(([title, which], n) => {
      const own = entries.filter((e) => e.peer !== "effuse" && which(e.peer))
      const found =
        lead(entries, threads, which) ??
        leadOfClosest([...entries.filter((e) => e.peer === "effuse"), ...own])
      const name = n === 0 ? c.name : ""
      if (found === undefined) return [name, title, "–", missing(own)]
      return [name, title, times(found), `${bar(found.times / 8, 32)} ${found.peer}`]
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
    ["of the plain kernel", isPlain]
  ])
