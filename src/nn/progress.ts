import type { Loaded } from "./weights.ts"

/** A line for a terminal: how far a load is. */
export const progressLine = ({ name, done, total }: Loaded, width = 24): string => {
  const share = total === 0 ? 1 : done / total
  const full = Math.round(share * width)
  return `[${"#".repeat(full)}${" ".repeat(width - full)}] ${Math.round(share * 100)} %  ${name}`
}

/** What a bar is drawn on: `process.stderr`, or anything that takes text. */
export interface Terminal {
  readonly write: (text: string) => unknown
  /** Whether a line can be written over; where it cannot, only the last one is written. */
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
}

/** A bar that is drawn over itself, for `loaded(stream, progressBar(process.stderr))`. */
export const progressBar =
  (terminal: Terminal): ((step: Loaded) => void) =>
  (step) => {
    const last = step.done === step.total
    const line = progressLine(step).slice(0, (terminal.columns ?? 80) - 1)
    // Carriage return, then what erases the line before.
    if (terminal.isTTY === true) terminal.write(`\r\u001b[2K${line}${last ? "\n" : ""}`)
    else if (last) terminal.write(`${line}\n`)
  }
