/** What Effuse is to reach, beside what it reached in a run: each goal is one line. */
import { table } from "../../src/cli/table.ts"
import { type Attention, bytesOf, flopsOf } from "../cases/cases.ts"
import type { LimitsOf } from "../ceilings/limit.ts"
import type { ThreadCeilings } from "../ceilings/threads.ts"
import {
  bar,
  digits,
  isNative,
  isPlain,
  isPublished,
  isWasm,
  type Lead,
  lead,
  leadOfClosest,
  percent,
  type Result
} from "./report.ts"
import type { Entry } from "./turns.ts"

export interface Goal {
  readonly text: string
  /** What was reached, undefined where it was not measured. */
  readonly reached: number | undefined
  /** What was wanted, and what aimed for where that is more. */
  readonly wanted: number
  readonly aim?: number
  /** Whether less is better. */
  readonly isMost: boolean
  readonly unit: "×" | "ms" | "%"
  /** Whether more was reached than is said. */
  readonly isMore: boolean
  /** Which part of the limit of this machine it takes to reach it: more than all of it where a peer has wider registers. */
  readonly needs?: number | undefined
}

export const isReached = ({ reached, wanted, isMost }: Goal): boolean | undefined =>
  reached === undefined ? undefined : isMost ? reached <= wanted : reached >= wanted

/** Whether nothing that computes as much could reach it here. */
const isPast = (goal: Goal): boolean => isReached(goal) === false && (goal.needs ?? 0) > 1

const find = (results: ReadonlyArray<Result>, name: string): Result | undefined =>
  results.find((r) => r.case.name === name)

/** Effuse's own correct entry. */
const own = (results: ReadonlyArray<Result>, name: string, threads?: number): Entry | undefined =>
  find(results, name)?.entries.find(
    (e) => e.peer === "effuse" && e.state === "right" && e.threads === threads
  )

/** Of cases that Effuse's own are compared with, which do not take turns: others on the machine only make them longer. */
const milliseconds = (results: ReadonlyArray<Result>, name: string, threads?: number): number | undefined =>
  own(results, name, threads)?.time?.least

const limitOfCase = (
  results: ReadonlyArray<Result>,
  limits: LimitsOf,
  name: string,
  threads?: number
): number | undefined => {
  const found = find(results, name)
  return found === undefined ? undefined : limits(found.case, threads)
}

/** Milliseconds of a case for so much work of it. */
const each = (
  results: ReadonlyArray<Result>,
  name: string,
  work: (c: Result["case"]) => number,
  threads?: number
): number | undefined => {
  const [found, time] = [find(results, name), milliseconds(results, name, threads)]
  return found === undefined || time === undefined ? undefined : time / work(found.case)
}

const times = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a * b

const over = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a / b

/** Goals that say how many times as fast as a peer a case is. */
const racing =
  (results: ReadonlyArray<Result>, limits: LimitsOf, threads?: number) =>
  (text: string, name: string, found: Lead | undefined, wanted: number, aim?: number): Goal => {
    const limit = limitOfCase(results, limits, name, threads)
    const peer = times(found?.times, own(results, name, threads)?.time?.median)
    return {
      ...{ text, reached: found?.times, wanted, isMost: false, unit: "×", isMore: found?.isMore === true },
      ...(aim === undefined ? {} : { aim }),
      needs: times(over(limit, peer), wanted)
    }
  }

const ratio = (text: string, reached: number | undefined, wanted: number, isMost: boolean): Goal => ({
  ...{ text, reached, wanted, isMost, unit: "×", isMore: false }
})

/** A part of what the machine does at best in one thing; `needs` where another bounds it, too. */
const part = (text: string, reached: number | undefined, wanted: number, needs?: number): Goal => ({
  ...{ text, reached: times(reached, 100), wanted, isMost: false, unit: "%", isMore: false, needs }
})

const first = (text: string, { cold }: Partial<Entry>, wanted: number, aim?: number): Goal => ({
  ...{ text, reached: cold === undefined ? undefined : cold.prepare + cold.first, wanted, isMost: true },
  ...{ unit: "ms", isMore: false },
  ...(aim === undefined ? {} : { aim })
})

const rows = (c: Result["case"]): number => (c as Attention).T

export const gpuGoals = (results: ReadonlyArray<Result>, limits: LimitsOf): ReadonlyArray<Goal> => {
  const ahead = racing(results, limits)
  const entries = (name: string): ReadonlyArray<Entry> => find(results, name)?.entries ?? []
  const peers = (name: string, wanted: number, aim?: number): Goal =>
    ahead(
      `${name} beside the best correct peer`,
      name,
      lead(entries(name), undefined, isPublished),
      wanted,
      aim
    )
  const plain = results.flatMap(({ case: { name }, entries: all }) => {
    const found = lead(all, undefined, isPlain)
    return found === undefined ? [] : [ahead(`${name} beside the plain kernel`, name, found, 1.3)]
  })
  const grown = over(each(results, "16384-window", rows), each(results, "4096-window", rows))
  const half = over(milliseconds(results, "2048-causal"), milliseconds(results, "2048-full"))
  return [
    ...["512-causal", "2048-causal", "512-gqa"].map((name) => peers(name, 4, 6)),
    peers("512-full", 3),
    ...["decode-4096", "decode-16384"].map((name) => peers(name, 2.5)),
    peers("block-512", 2),
    ahead(
      "4096-window beside the best causal-only peer",
      "4096-window",
      leadOfClosest(entries("4096-window")),
      10
    ),
    ...plain,
    first("first call of 512-causal, compiled", own(results, "512-causal") ?? {}, 1000, 500),
    ratio("a query of 16384-window beside one of 4096-window", grown, 1.15, true),
    ratio("2048-causal beside 2048-full", half, 0.575, true)
  ]
}

/** Of one number of threads. */
export const cpuGoals = (
  results: ReadonlyArray<Result>,
  threads: number,
  ceilings: ThreadCeilings | undefined,
  limits: LimitsOf
): ReadonlyArray<Goal> => {
  const ahead = racing(results, limits, threads)
  const said = (text: string): string => `${text}, ${threads} ${threads === 1 ? "thread" : "threads"}`
  const of = (name: string, which: (peer: string) => boolean): Lead | undefined =>
    lead(find(results, name)?.entries ?? [], threads, which)
  const beside = (name: string, wasm: number, native?: number): ReadonlyArray<Goal> => [
    ahead(said(`${name} beside the best wasm peer`), name, of(name, isWasm), wasm),
    ...(native === undefined ? [] : [ahead(said(`${name} beside native`), name, of(name, isNative), native)])
  ]
  const rate = (name: string, work: (c: Result["case"]) => number): number | undefined => {
    const time = each(results, name, work, threads)
    return time === undefined ? undefined : 1 / time / 1e6
  }
  const per = (name: string): number | undefined => each(results, name, flopsOf, threads)
  const read = (name: string, most: number | undefined, wanted: number): Goal => {
    const c = find(results, name)?.case
    const arithmetic = over(c && flopsOf(c), ceilings?.flops)
    const allowed = over(c && bytesOf(c), times(most, wanted / 100))
    const reached = over(rate(name, bytesOf), most)
    return part(said(`${name} of what can be read`), reached, wanted, over(arithmetic, allowed))
  }
  const anyone = (): boolean => true
  const onnx = (peer: string): boolean => peer === "onnxruntime-web"
  return [
    // Level with native is asked for on two threads.
    ...["512-causal", "2048-causal", "512-gqa"].flatMap((name) =>
      beside(name, 2.5, threads > 1 ? 1 : undefined)
    ),
    ...["512-full", "2048-full"].flatMap((name) => beside(name, 1.8, 0.6)),
    ...["decode-4096", "decode-16384"].flatMap((name) => beside(name, 1.5, 0.6)),
    ...["decode-16384", "decode-16384-mha"].map((name) => read(name, ceilings?.reads[name], 60)),
    ahead(said("8192-window beside any peer"), "8192-window", of("8192-window", anyone), 10),
    ratio(
      said("512-d128 beside 512-causal, each flop"),
      over(per("512-d128"), per("512-causal")),
      1.15,
      true
    ),
    ratio(said("512-f16 beside 512-causal"), over(per("512-f16"), per("512-causal")), 1.2, true),
    part(said("matmul-1024 of the ceiling of tiles"), over(rate("matmul-1024", flopsOf), ceilings?.tile), 65),
    ahead(said("matmul-1024 beside onnxruntime-web"), "matmul-1024", of("matmul-1024", onnx), 2),
    ahead(said("block-512 beside onnxruntime-web"), "block-512", of("block-512", onnx), 1.5),
    first(said("first call of 512-causal, compiled"), own(results, "512-causal", threads) ?? {}, 60)
  ]
}

const number = (x: number, unit: Goal["unit"]): string =>
  unit === "×" ? `${x.toFixed(2)}×` : `${unit === "%" ? Math.round(x) : digits(x)} ${unit}`

/** The bar is full where the goal is reached. */
export const goalsText = (goals: ReadonlyArray<Goal>): string => {
  const lines = goals.map((goal) => {
    const { text, reached, wanted, aim, isMost, unit, isMore } = goal
    const past = isPast(goal) ? ` needs ${percent(goal.needs as number)} of the limit` : ""
    const want = `${isMost ? "≤" : "≥"} ${number(wanted, unit)}`
    const aimed = aim === undefined ? "" : `, aim ${number(aim, unit)}`
    if (reached === undefined) return [text, "–", want + aimed, "not measured"]
    const progress = isMost ? wanted / reached : reached / wanted
    const sign = isReached(goal) === true ? "✓" : "✗"
    return [
      text,
      `${isMore ? ">" : ""}${number(reached, unit)}`,
      want + aimed,
      `${sign} ${bar(progress, 16)}${past}`
    ]
  })
  const measured = goals.filter((g) => g.reached !== undefined)
  const count = measured.filter((g) => isReached(g) === true).length
  const past = measured.filter(isPast).length
  const others = past === 0 ? "" : `, ${past} of the others are past the limit of this machine`
  return `${table([["", "reached", "wanted", ""], ...lines], [1])}\n${count} of ${measured.length} reached${others}`
}
