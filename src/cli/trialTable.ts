import type { Trial } from "../tune.ts"
import { table } from "./table.ts"

export const trialTime = ({ milliseconds }: Trial): string =>
  milliseconds === undefined ? "does not run here" : `${milliseconds.toFixed(2)} ms`

/** The parts of schedules' texts that they all share, once, and the others of each. */
const parted = (
  texts: ReadonlyArray<string>
): { readonly shared: string; readonly own: ReadonlyArray<string> } => {
  const parts = texts.map((text) => text.split("; "))
  const isShared = (part: string): boolean => texts.length > 1 && parts.every((all) => all.includes(part))
  const own = parts.map((all) => all.filter((part) => !isShared(part)).join("; "))
  return { shared: (parts[0] ?? []).filter(isShared).join("; "), own }
}

const ofAttention = (attention: string, trials: ReadonlyArray<Trial>): string => {
  const sorted = trials.toSorted((a, b) => (a.milliseconds ?? Infinity) - (b.milliseconds ?? Infinity))
  const { shared, own } = parted(sorted.map((trial) => trial.schedule))
  const rows = sorted.map((trial, n) => [
    `  ${trialTime(trial)}`,
    trial.number === 1 ? "chosen unmeasured" : "",
    own[n] as string
  ])
  const left = (trials[0]?.of ?? 0) - trials.length
  return [
    attention,
    table(rows, [0]),
    ...(shared === "" ? [] : [`  each: ${shared}`]),
    ...(left > 0 ? [`  ${left} more were not measured: the time for it was over`] : [])
  ].join("\n")
}

/** What was measured, the fastest first, for each attention. */
export const trialTable = (trials: ReadonlyArray<Trial>): string =>
  [...new Set(trials.map((trial) => trial.attention))]
    .map((attention) =>
      ofAttention(
        attention,
        trials.filter((trial) => trial.attention === attention)
      )
    )
    .join("\n")
