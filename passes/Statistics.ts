import type * as Trail from "./Trail.ts"

/** What became of a rule in one run of a pass. */
export interface Tally {
  /** How often it was held against a node. */
  readonly tried: number
  /** How often it gave something. */
  readonly applied: number
  /** Time spent in it, tried in vain or not. */
  readonly milliseconds: number
}

/** How a pass counts what its rules do. */
export interface Count {
  /** A rule applied. */
  (rule: string, times?: number): void
  /**
   * Runs a rule on a node and keeps the time it took. There where statistics are asked for; `worked` tells whether the rule
   * gave something.
   */
  readonly attempt?: (<A>(rule: string, run: () => A, worked?: (result: A) => boolean) => A) | undefined
  /** Remembers which rules made which nodes. */
  readonly trail?: Trail.Trail | undefined
}

/** What a pass counted. */
export interface Statistics {
  /** How often each rule applied. */
  readonly rules: ReadonlyMap<string, number>
  /** By rule; empty unless it was asked for. */
  readonly tallies: ReadonlyMap<string, Tally>
}

/** Runs a rule, and keeps what became of it where that is asked for. */
export const attempt = <A>(count: Count, rule: string, run: () => A, worked?: (result: A) => boolean): A =>
  count.attempt === undefined ? run() : count.attempt(rule, run, worked)

const given = (result: unknown): boolean => result !== undefined

/** A counter and what it has counted so far; with `timed`, each attempt of a rule as well. */
export const collector = (timed: boolean, trail: Trail.Trail): Statistics & { readonly count: Count } => {
  const rules = new Map<string, number>()
  const tallies = new Map<string, Tally>()
  const count = (rule: string, times = 1): void => void rules.set(rule, (rules.get(rule) ?? 0) + times)
  if (!timed) return { rules, tallies, count: Object.assign(count, { trail }) }
  const attempt: Count["attempt"] = (rule, run, worked = given) => {
    const started = performance.now()
    const result = run()
    const milliseconds = performance.now() - started
    const known = tallies.get(rule) ?? { tried: 0, applied: 0, milliseconds: 0 }
    tallies.set(rule, {
      tried: known.tried + 1,
      applied: known.applied + (worked(result) ? 1 : 0),
      milliseconds: known.milliseconds + milliseconds
    })
    return result
  }
  return { rules, tallies, count: Object.assign(count, { attempt, trail }) }
}
