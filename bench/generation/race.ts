/** The generation run: every engine continues the same prompt with the same weights, in turns. */
import { table } from "../../src/cli/table.ts"
import { bar, digits } from "../race/report.ts"
import { type Summary, summary } from "../race/statistics.ts"
import type { Contender } from "../race/turns.ts"
import type { Generation } from "./model.ts"

export interface Generated {
  readonly contender: string
  readonly peer: string
  readonly webgpu: boolean
  readonly state: "right" | "wrong" | "cannot" | "failed" | "slow"
  readonly note: string
  readonly variant: string
  /** Milliseconds of a word after the first, until the first of a warm engine and of a cold one, and bytes for a word. */
  readonly step?: Summary
  readonly first?: number
  readonly cold?: number
  readonly bytes?: number
}

/** The words that most runs gave, of those that made all of them. */
export const agreed = (runs: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<number> => {
  const most = Math.max(...runs.map((tokens) => tokens.length))
  const whole = runs.filter((tokens) => tokens.length === most)
  const votes = whole.map((tokens) => whole.filter((other) => begins(other, tokens)).length)
  return whole[votes.indexOf(Math.max(...votes))] ?? []
}

const begins = (whole: ReadonlyArray<number>, start: ReadonlyArray<number>): boolean =>
  start.every((token, n) => token === whole[n])

interface Ran {
  readonly contender: Contender
  readonly runs: ReadonlyArray<Generation>
  /** Milliseconds of the last turn. */
  readonly took: number
  readonly refused?: { readonly state: "cannot" | "failed" | "slow"; readonly note: string }
}

/** Who took longer has one turn. */
const patience = 20_000

const stepsOf = (runs: ReadonlyArray<Generation>): Summary => summary(runs.flatMap((r) => r.steps))

/** The fastest way with the words of the others, or the fastest of all where none has them. */
const judged = ({ contender, runs, refused }: Ran, expected: ReadonlyArray<number>): Generated => {
  const own = { contender: contender.label, peer: contender.peer, webgpu: contender.threads === undefined }
  if (refused !== undefined) return { ...own, ...refused, variant: "" }
  const ways = [...new Set(runs.map((r) => r.variant))].map((name) => runs.filter((r) => r.variant === name))
  const isRight = (way: ReadonlyArray<Generation>): boolean => way.every((r) => begins(expected, r.tokens))
  const right = ways.filter(isRight)
  const best = (right.length > 0 ? right : ways).sort((a, b) => stepsOf(a).median - stepsOf(b).median)[0]
  const [first] = best as [Generation]
  return {
    ...own,
    state: right.length > 0 ? "right" : "wrong",
    note: right.length > 0 ? "" : "other words than most",
    variant: first.variant,
    step: stepsOf(best as ReadonlyArray<Generation>),
    first: summary((best as ReadonlyArray<Generation>).map((r) => r.first)).median,
    cold: first.cold,
    bytes: first.bytes
  }
}

/** Of those that had a turn before the deadline, which may come nearer while it runs. */
export const generateAll = async (
  contenders: ReadonlyArray<Contender>,
  rounds: number,
  limit: number,
  deadline: () => number
): Promise<ReadonlyArray<Generated>> => {
  const ran = new Map<Contender, Ran>(
    contenders.map((contender) => [contender, { contender, took: 0, runs: [] }])
  )
  for (let round = 0; round < rounds; round++)
    for (const [contender, before] of ran) {
      if (before.refused !== undefined || (round > 0 && before.took > patience)) continue
      const begun = performance.now()
      if (begun >= deadline()) break
      const most = Math.min(limit, deadline() - begun)
      const made = await contender.child.ask<ReadonlyArray<Generation>>({ do: "generate" }, most)
      const took = performance.now() - begun
      // Who was stopped with the run has not failed.
      if (made.tag !== "done" && performance.now() >= deadline()) break
      if (made.tag === "done") ran.set(contender, { contender, took, runs: [...before.runs, ...made.value] })
      else if (round === 0) ran.set(contender, { ...before, refused: { state: made.tag, note: made.reason } })
    }
  const all = [...ran.values()].filter(({ runs, refused }) => runs.length > 0 || refused !== undefined)
  const expected = agreed(all.flatMap(({ runs }) => runs.map((r) => r.tokens)))
  return all.map((one) => judged(one, expected))
}

export const generatedText = (all: ReadonlyArray<Generated>): string => {
  const fastest = Math.min(...all.flatMap((g) => (g.state === "right" ? (g.step?.median ?? []) : [])))
  const rows = all.map((g) => {
    const { step, first = 0, cold = 0, bytes = 0 } = g
    if (step === undefined)
      return [g.contender, g.state === "slow" ? "too slow" : g.state, "", "", "", "", g.note]
    return [
      g.contender,
      `${digits(1000 / step.median)} words/s`,
      `${digits(step.low)} to ${digits(step.high)} ms`,
      `first ${digits(first)}`,
      `cold ${digits(cold)}`,
      `${Math.round(bytes).toLocaleString("en")} bytes/word`,
      g.state === "wrong" ? `WRONG: ${g.note}` : `${bar(fastest / step.median, 24)} ${g.variant}`.trimEnd()
    ]
  })
  return table(rows, [1, 5])
}

export const generateLine = (all: ReadonlyArray<Generated>): string => {
  const lead = (webgpu: boolean, of: (peer: string) => boolean): string => {
    const right = all.filter((g) => g.webgpu === webgpu && g.state === "right")
    const own = right.find((g) => g.peer === "effuse")?.step?.median
    const peers = right.flatMap((g) => (g.peer !== "effuse" && of(g.peer) ? (g.step?.median ?? []) : []))
    return own === undefined || peers.length === 0 ? "–" : `${(Math.min(...peers) / own).toFixed(2)}×`
  }
  const native = (peer: string): boolean => peer === "onnxruntime-node"
  const wasm = lead(false, (peer) => !native(peer))
  return `bench generate: ${wasm} of the best wasm peer, ${lead(false, native)} of native, ${lead(true, () => true)} of the best WebGPU peer`
}
