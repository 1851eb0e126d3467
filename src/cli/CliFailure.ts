import { Data } from "effect"

/** What the process says to scripts when it ends. The one table; help and documentation print it. */
export const exitCodes = {
  ok: { code: 0, meaning: "done" },
  failed: {
    code: 1,
    meaning: "the check failed: verify found an element outside its tolerance, attention did not fuse"
  },
  usage: { code: 2, meaning: "the command line is wrong: an unknown command, flag, pass, op or definition" },
  input: { code: 3, meaning: "a file is missing or wrong: text IR, module, data, shapes that do not fit" },
  device: { code: 4, meaning: "the device cannot: no adapter, memory, limits, device lost" },
  defect: { code: 70, meaning: "a defect of Effuse: please report it" }
} as const satisfies { readonly [name: string]: { readonly code: number; readonly meaning: string } }

export type Exit = keyof typeof exitCodes

/** Anything that ends a command early, as it is told to people. */
export class CliFailure extends Data.TaggedError("CliFailure")<{
  readonly exit: Exit
  /** What happened; may have several lines. */
  readonly message: string
  /** `file:line:column`. */
  readonly where?: string
  /** The line at fault with a caret below. */
  readonly source?: string
  /** What to try. */
  readonly hint?: string
  readonly cause?: unknown
}> {}

const failing =
  (exit: Exit) =>
  (message: string, hint?: string): CliFailure =>
    new CliFailure({ exit, message, ...(hint === undefined ? {} : { hint }) })

export const usage = failing("usage")
export const badInput = failing("input")
export const failed = failing("failed")

/** A text from outside made safe for a terminal: quoted, control characters escaped, short. */
export const quoted = (text: string): string =>
  JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text).replace(
    /[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
