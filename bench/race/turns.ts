/** One case, all contenders: made ready one after the other, then timed in turns, so that a busy machine slows all alike. */
import { type Case, causalOnly, squareFlopsOf } from "../cases/cases.ts"
import { closest } from "../peers/Peer.ts"
import type { Child, Outcome } from "./child.ts"
import type { Cold, Command } from "./contender.ts"
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
  /** `closest` is right, but of something else that comes closest; `left` is what a run that ended has not come to. */
  readonly state: "right" | "wrong" | "closest" | "cannot" | "failed" | "slow" | "left"
  /** Why there is no time, or how far off the result is. */
  readonly note: string
  /** How the case was written, where there are several ways. */
  readonly variant: string
  /** Ways whose results were wrong, where another one is right. */
  readonly wrong?: ReadonlyArray<string>
  readonly cold?: Cold
  readonly time?: Summary
  /** Milliseconds that a call takes more than: it was stopped. */
  readonly above?: number
}

export interface Settings {
  readonly rounds: number
  /** Milliseconds of a turn. */
  readonly turn: number
  /** Milliseconds: of a call that takes longer there are two, the one that follows the first and one turn. Of those who skip what is masked, five times as many. */
  readonly slow: number
  /** Milliseconds: a call that takes longer is stopped; what compiling may take besides; a case that will take longer is left out. */
  readonly callLimit: number
  readonly coldAllowance: number
  readonly skipLimit: number
  /** Until when this case has time: then there are two turns, and none of those that take long. */
  readonly until: number
  /** When the whole run ends, whatever it is at. */
  readonly deadline: () => number
  /** Whether all ways to write a case are tried, or the first correct one is taken. */
  readonly tryAll: boolean
  readonly judge: (c: Case, actual: Float32Array) => { readonly ok: boolean; readonly message: string }
  /** Told what is being done. */
  readonly progress?: (label: string) => void
}

/** What cases before this one have shown of the contenders. */
export interface Known {
  /** The least time that a multiplication has taken each of them in cases of a kind. */
  readonly rates: Map<string, number>
  /** Ways that were wrong: they are tried last. */
  readonly wrong: Set<string>
}

export const nothingKnown = (): Known => ({ rates: new Map(), wrong: new Set() })

interface Candidate {
  readonly variant: string
  readonly ok: boolean
  readonly message: string
  readonly wrong: ReadonlyArray<string>
  readonly cold: Cold
  readonly times: ReadonlyArray<number>
}

type Asked<A> = Outcome<A> | { readonly tag: "left"; readonly reason: string }
type Refusal = Exclude<Asked<unknown>, { readonly tag: "done" }> & { readonly above?: number }

/** Milliseconds that a process, a browser and an engine may take to be there, once. */
const startLimit = 40_000

const median = (times: ReadonlyArray<number>): number => summary(times).median

/** Asks for no longer than the run has time. */
const asking =
  ({ deadline }: Settings) =>
  async <A>({ child }: Contender, command: Command, limit: number): Promise<Asked<A>> => {
    const left = { tag: "left", reason: "the run had ended" } as const
    const rest = deadline() - performance.now()
    if (rest <= 0) return left
    const outcome = await child.ask<A>(command, Math.min(limit, rest))
    return outcome.tag !== "done" && performance.now() >= deadline() ? left : outcome
  }

/** The fastest correct way that a contender has to say the case; the fastest wrong one where none is correct. */
const readied = async (
  contender: Contender,
  c: Case,
  known: Known,
  settings: Settings
): Promise<Refusal | Candidate> => {
  const { callLimit, coldAllowance, tryAll } = settings
  const ask = asking(settings)
  const key = (variant: string): string => `${contender.label} ${variant}`
  const coldLimit = callLimit + coldAllowance
  const listed = await ask<ReadonlyArray<string>>(contender, { do: "variants", case: c }, startLimit)
  if (listed.tag !== "done") return listed
  let best: Candidate | undefined
  let refusal: Refusal | undefined
  const [wrong, before] = [[] as Array<string>, (v: string): number => (known.wrong.has(key(v)) ? 1 : 0)]
  const ways = [...listed.value].sort((a, b) => before(a) - before(b))
  for (const variant of ways) {
    const isLast = variant === ways.at(-1)
    const cold = await ask<Cold>(contender, { do: "prepare", case: c, variant }, coldLimit)
    if (cold.tag !== "done") {
      refusal ??= cold.tag === "slow" ? tooSlow(callLimit) : cold
      // What comes after the first way is slower still.
      if (cold.tag === "slow" && !tryAll) break
      continue
    }
    const out = await ask<Float32Array>(contender, { do: "read", variant }, coldLimit)
    if (out.tag === "left") return out
    const judged =
      out.tag === "done"
        ? settings.judge(variant === closest ? closestOf(c) : c, out.value)
        : { ok: false, message: out.reason }
    if (!judged.ok) {
      wrong.push(variant)
      known.wrong.add(key(variant))
    }
    // What the first call compiled is not counted: there is always a second one, but of a wrong result only where nothing else is left.
    const again = { do: "time", variant, milliseconds: tryAll ? 60 : 1 } as const
    const isNeeded = judged.ok || (isLast && best === undefined)
    const timed = isNeeded ? await ask<Array<number>>(contender, again, callLimit) : undefined
    if (timed?.tag === "slow") {
      refusal ??= tooSlow(callLimit)
      continue
    }
    const times = timed?.tag === "done" ? timed.value : [cold.value.first]
    const candidate: Candidate = { variant, ...judged, wrong, cold: cold.value, times }
    const better =
      best === undefined || (judged.ok === best.ok ? median(times) < median(best.times) : judged.ok)
    const loser = better ? best?.variant : variant
    if (better) best = candidate
    if (loser !== undefined) await ask(contender, { do: "release", variant: loser }, callLimit)
    if (judged.ok && !tryAll) break
  }
  return best ?? refusal ?? { tag: "failed", reason: "there is nothing to run" }
}

const tooSlow = (limit: number): Refusal => ({
  ...{ tag: "slow", reason: `stopped in a call of more than ${seconds(limit)}`, above: limit }
})

const seconds = (milliseconds: number): string => `${Number((milliseconds / 1000).toFixed(1))} s`

const closestOf = (c: Case): Case => causalOnly(c) ?? c

const kindOf = ({ label }: Contender, c: Case): string => `${label} ${c.kind}`

/** What a call takes at the least, judging by what its multiplications took so far. */
const foreseen = (contender: Contender, c: Case, { rates }: Known): number =>
  contender.skips ? 0 : (rates.get(kindOf(contender, c)) ?? 0) * squareFlopsOf(c)

const learn = (contender: Contender, c: Case, milliseconds: number, { rates }: Known): void => {
  // A call of one query is bound by memory and says nothing of others.
  if (c.kind === "attention" && c.T === 1) return
  const [key, rate] = [kindOf(contender, c), milliseconds / squareFlopsOf(c)]
  rates.set(key, Math.min(rate, rates.get(key) ?? rate))
}

interface Racing {
  readonly contender: Contender
  readonly candidate: Candidate
  readonly times: Array<number>
}

/** Who is ready to run, and why the others are not. */
const gathered = async (
  c: Case,
  contenders: ReadonlyArray<Contender>,
  known: Known,
  settings: Settings
): Promise<{ readonly racing: ReadonlyArray<Racing>; readonly entries: ReadonlyArray<Entry> }> => {
  const entries: Array<Entry> = []
  const racing: Array<Racing> = []
  for (const contender of contenders) {
    const { label, peer, threads } = contender
    settings.progress?.(label)
    const expected = foreseen(contender, c, known)
    const ready: Refusal | Candidate =
      expected > settings.skipLimit
        ? {
            tag: "slow",
            reason: `not run: a call would take about ${seconds(Math.round(expected / 1000) * 1000)}`
          }
        : await readied(contender, c, known, settings)
    if ("cold" in ready) racing.push({ contender, candidate: ready, times: [] })
    else {
      const above = ready.above === undefined ? {} : { above: ready.above }
      entries.push({
        contender: label,
        peer,
        threads,
        variant: "",
        state: ready.tag,
        note: ready.reason,
        ...above
      })
    }
  }
  return { racing, entries }
}

const isSlow = ({ candidate, contender }: Racing, { slow }: Settings): boolean =>
  median(candidate.times) > slow * (contender.skips ? 5 : 1)

const takeTurns = async (racing: ReadonlyArray<Racing>, settings: Settings): Promise<void> => {
  const ask = asking(settings)
  for (let round = 0; round < settings.rounds; round++) {
    const isLate = performance.now() > settings.until
    if (isLate && round >= 2) return
    for (const one of racing) {
      const slow = isSlow(one, settings)
      if (slow && (round > 0 || (isLate && median(one.candidate.times) > settings.callLimit / 4))) continue
      settings.progress?.(one.contender.label)
      const command = {
        do: "time",
        variant: one.candidate.variant,
        milliseconds: slow ? 1 : settings.turn
      } as const
      const timed = await ask<Array<number>>(one.contender, command, settings.callLimit + settings.turn)
      if (timed.tag === "done") one.times.push(...timed.value)
    }
  }
}

const entryOf = (one: Racing, settings: Settings): Entry => {
  const { contender, candidate, times } = one
  const { variant, ok, message, cold, wrong } = candidate
  const counted = times.length === 0 || isSlow(one, settings) ? [...candidate.times, ...times] : times
  return {
    ...{ contender: contender.label, peer: contender.peer, threads: contender.threads, variant, cold },
    ...(wrong.length === 0 ? {} : { wrong }),
    state: !ok ? "wrong" : variant === closest ? "closest" : "right",
    note: ok ? "" : message,
    time: summary(counted)
  }
}

export const race = async (
  c: Case,
  contenders: ReadonlyArray<Contender>,
  known: Known,
  settings: Settings
): Promise<ReadonlyArray<Entry>> => {
  const { racing, entries } = await gathered(c, contenders, known, settings)
  await takeTurns(racing, settings)
  const raced: Array<Entry> = []
  for (const one of racing) {
    const entry = entryOf(one, settings)
    learn(one.contender, c, entry.time?.median ?? 0, known)
    raced.push(entry)
    await asking(settings)(one.contender, { do: "release", variant: entry.variant }, settings.callLimit)
  }
  const order = contenders.map((x) => x.label)
  return [...entries, ...raced].sort((a, b) => order.indexOf(a.contender) - order.indexOf(b.contender))
}
