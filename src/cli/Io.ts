import { Context, type Effect } from "effect"
import type { CliFailure } from "./CliFailure.ts"
import type { Paint } from "./Paint.ts"

/** The world as commands see it: what a test replaces. */
export interface IoShape {
  /** Writes text and a line break to standard output: results only. */
  readonly print: (text: string) => Effect.Effect<void>
  /** Writes text and a line break to standard error: what is not the result. */
  readonly tell: (text: string) => Effect.Effect<void>
  /** Colours for standard output. */
  readonly paint: Paint
  /** Colours for standard error. */
  readonly paintError: Paint
  /** How many columns standard output has; undefined where it is no terminal. */
  readonly columns: number | undefined
  /** Reads a file; `-` is standard input. */
  readonly read: (file: string) => Effect.Effect<Uint8Array, CliFailure>
  readonly write: (file: string, content: string | Uint8Array) => Effect.Effect<void, CliFailure>
  readonly env: { readonly [name: string]: string | undefined }
}

export class Io extends Context.Service<Io, IoShape>()("effuse/cli/Io") {}
