/** One case, all contenders: made ready one after the other, then timed in turns, so that a busy machine slows all alike. */
import { type Case, squareFlopsOf } from "../cases/cases.ts"
import type { Child, Outcome } from "./child.ts"
import type { Cold } from "./contender.ts"
import { type Summary, summary } from "./statistics.ts"

export interface Contender {
  /** Name and threads, as tables show it. */
  readonly label: string
  readonly peer: string
  /** Undefined on WebGPU. */
  readonly threads: number | undefined
  readonly child: Child
  /** Whether it leaves out what a mask hides: then what a case costs is not foreseen. */
  readonly skips: boolean
}

export interface Entry {
  readonly contender: string
  readonly peer: string
  readonly threads: number | undefined
  readonly state: "right" | "wrong" | "cannot" | "failed" | "slow"
  /** Why there is no time, or how far off the result is. */
  readonly note: string
  /** How the case was written, where there are several ways. */
  readonly variant: string
  readonly cold?: Cold
  readonly time?: Summary
}

export interface Settings {
  readonly rounds: number
  /** Milliseconds of a turn. */
  readonly turn: number
  /** Milliseconds: a call that takes longer is made once more after the first, and no more; a case that will take longer is left out; how long an answer may take. */
  readonly callLimit: number
  readonly skipLimit: number
  readonly coldLimit: number
  /** Until when rounds may begin; the first two always do. */
  readonly until: number
  /** Whether all ways to write a case are tried, or the first correct one is taken. */
  readonly tryAll: boolean
  readonly judge: (c: Case, actual: Float32Array) => { readonly ok: boolean; readonly message: string }
}

/** The least time that a multiplication has taken each contender so far. */
export type Rates = Map<string, number>

interface Candidate {
  readonly variant: string
  readonly ok: boolean
  readonly message: string
  readonly cold: Cold
  readonly times: Array<number>
}

const median = (times: ReadonlyArray<number>): number => summary(times).median

/** The fastest correct way that a contender has to say the case; the fastest wrong one where none is correct. */
const readied = async (contender: Contender, c: Case, settings: Settings): Promise<Entry | Candidate> => {
  const { child, label, peer, threads } = contender
  const without = (outcome: Exclude<Outcome<unknown>, { readonly tag: "done" }>): Entry => ({
    ...{ contender: label, peer, threads, variant: "", state: outcome.tag, note: outcome.reason }
  })
  const listed = await child.ask<ReadonlyArray<string>>({ do: "variants", case: c }, settings.coldLimit)
  if (listed.tag !== "done") return without(listed)
  let best: Candidate | undefined
  let refusal: Exclude<Outcome<unknown>, { readonly tag: "done" }> | undefined
  for (const variant of listed.value) {
    const cold = await child.ask<Cold>({ do: "prepare", case: c, variant }, settings.coldLimit)
    if (cold.tag !== "done") {
      refusal ??= cold
      continue
    }
    const out = await child.ask<Float32Array>({ do: "read", variant }, settings.coldLimit)
    const judged = out.tag === "done" ? settings.judge(c, out.value) : { ok: false, message: out.reason }
    // What the first call compiled is not counted: there is always a second one.
    const again = { do: "time", variant, milliseconds: settings.tryAll ? 60 : 1 } as const
    const timed = await child.ask<Array<number>>(again, settings.coldLimit)
    const times = timed.tag === "done" ? timed.value : [cold.value.first]
    const candidate: Candidate = { variant, ...judged, cold: cold.value, times }
    const better =
      best === undefined || (judged.ok === best.ok ? median(times) < median(best.times) : judged.ok)
    const loser = better ? best?.variant : variant
    if (better) best = candidate
    if (loser !== undefined) await child.ask({ do: "release", variant: loser }, settings.coldLimit)
    if (judged.ok && !settings.tryAll) break
  }
  if (best !== undefined) return best
  return without(refusal ?? { tag: "failed", reason: "there is nothing to run" })
}

/** What a call takes at the least, judging by what its multiplications took so far. */
const foreseen = (contender: Contender, c: Case, rates: Rates): number =>
  contender.skips ? 0 : (rates.get(contender.label) ?? 0) * squareFlopsOf(c)

const learn = (contender: Contender, c: Case, milliseconds: number, rates: Rates): void => {
  const rate = milliseconds / squareFlopsOf(c)
  // A call of one query is bound by memory and says nothing of others.
  if (c.kind === "attention" && c.T === 1) return
  rates.set(contender.label, Math.min(rate, rates.get(contender.label) ?? rate))
}

/** In a run that is late, slower calls are made in one turn only. */
const patience = ({ callLimit, until }: Settings): number =>
  performance.now() < until ? callLimit : callLimit / 3

export const race = async (
  c: Case,
  contenders: ReadonlyArray<Contender>,
  rates: Rates,
  settings: Settings
): Promise<ReadonlyArray<Entry>> => {
  const entries: Array<Entry> = []
  const racing: Array<{
    readonly contender: Contender
    readonly candidate: Candidate
    readonly times: Array<number>
  }> = []
  for (const contender of contenders) {
    const { label, peer, threads } = contender
    const expected = foreseen(contender, c, rates)
    if (expected > settings.skipLimit) {
      const note = `a call would take about ${(expected / 1000).toFixed(0)} s`
      entries.push({ contender: label, peer, threads, variant: "", state: "slow", note })
      continue
    }
    const ready = await readied(contender, c, settings)
    if ("state" in ready) entries.push(ready)
    else racing.push({ contender, candidate: ready, times: [] })
  }
  for (let round = 0; round < settings.rounds && (round < 2 || performance.now() < settings.until); round++) {
    for (const { contender, candidate, times } of racing) {
      const call = median(candidate.times)
      if (call > settings.callLimit || (round > 0 && (times.length === 0 || call > patience(settings))))
        continue
      const command = { do: "time", variant: candidate.variant, milliseconds: settings.turn } as const
      const timed = await contender.child.ask<Array<number>>(command, settings.coldLimit)
      if (timed.tag === "done") times.push(...timed.value)
    }
  }
  for (const { contender, candidate, times } of racing) {
    const { variant, ok, message, cold } = candidate
    const own = {
      contender: contender.label,
      peer: contender.peer,
      threads: contender.threads,
      variant,
      cold
    }
    const time = summary(times.length === 0 ? candidate.times : times)
    learn(contender, c, time.median, rates)
    entries.push({ ...own, state: ok ? "right" : "wrong", note: ok ? "" : message, time })
    await contender.child.ask({ do: "release", variant }, settings.coldLimit)
  }
  const order = contenders.map((x) => x.label)
  return entries.sort((a, b) => order.indexOf(a.contender) - order.indexOf(b.contender))
}
