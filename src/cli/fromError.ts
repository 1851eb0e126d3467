import { Effect } from "effect"
import { type Location, printLocation } from "../../ir/errors.ts"
import type { PipelineError } from "../../passes/Pipeline.ts"
import type { EffuseError } from "../errors.ts"
import type { FileError } from "../files/FileError.ts"
import { CliFailure, type Exit } from "./CliFailure.ts"
import { Io } from "./Io.ts"
import { displayed } from "./paths.ts"

export type KnownError = EffuseError | FileError | PipelineError

const exits: { readonly [T in KnownError["_tag"]]: Exit } = {
  ShapeError: "input",
  DTypeError: "input",
  AttrError: "input",
  TraceError: "input",
  SignatureError: "input",
  ParseError: "input",
  VerifyError: "input",
  FileError: "input",
  InvalidArray: "input",
  FusionRequired: "failed",
  PipelineError: "usage",
  PassError: "defect",
  KernelError: "defect",
  UnsupportedByDevice: "device",
  DeviceLost: "device",
  OutOfMemory: "device"
}

export const isKnownError = (e: unknown): e is KnownError =>
  typeof e === "object" && e !== null && Object.hasOwn(exits, (e as { _tag?: string })._tag ?? "")

/** The line of a person's file with a caret below, where it can be read. */
export const excerpt = (at: Location): Effect.Effect<string | undefined, never, Io> =>
  Effect.gen(function* () {
    const io = yield* Io
    if (at.file === "-" || at.file === "unknown") return undefined
    const bytes = yield* Effect.orElseSucceed(io.read(at.file), () => undefined)
    const line = bytes === undefined ? undefined : new TextDecoder().decode(bytes).split(/\r?\n/)[at.line - 1]
    if (line === undefined || line.length > 200) return undefined
    const blank = line.slice(0, at.column - 1).replace(/[^\t]/g, " ")
    return `${line}\n${blank}^`
  })

/** Where an error happened, in words of the person who reads it. */
const placeOf = (e: KnownError): { readonly at?: Location; readonly source?: string } => {
  const { at, source } = e as { readonly at?: Location; readonly source?: string }
  return {
    ...(at === undefined || at.file === "unknown" ? {} : { at }),
    ...(source === undefined || e._tag === "KernelError" ? {} : { source })
  }
}

const misplaced = "run the passes in the order of the default pipeline"

/** A typed error of the library as the command line tells it: exit code, place, the line with a caret. */
export const fromError = (e: KnownError): Effect.Effect<CliFailure, never, Io> =>
  Effect.gen(function* () {
    const { at, source } = placeOf(e)
    const shown = source ?? (at === undefined ? undefined : yield* excerpt(at))
    const violations = e._tag === "VerifyError" ? e.violations.map((v) => `  ${v}`) : []
    const hint = e._tag === "PipelineError" || "hint" in e ? e.hint : undefined
    // A pass that is asked for in the wrong place is a mistake of the command line, all else is ours.
    const exit = e._tag === "PassError" && hint === misplaced ? "usage" : exits[e._tag]
    // Every node of a graph that has not been cut into kernels is a violation of that form: one of them says it.
    // The place and the hint have lines of their own below.
    const message = "what" in e ? e.what : e.message
    const lines = message.split("\n")
    const said = exit === "usage" && lines.length > 2 ? lines.slice(0, 2).join(" ") : message
    return new CliFailure({
      exit,
      message: [said, ...violations.filter((v) => !message.includes(v.trim()))].join("\n"),
      ...(at === undefined ? {} : { where: printLocation({ ...at, file: displayed(at.file) }) }),
      ...(shown === undefined ? {} : { source: shown }),
      ...(hint === undefined ? {} : { hint }),
      cause: e
    })
  })

/** Turns the library's errors in the error channel into failures of the command line. */
export const orFail = <A, E extends KnownError, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, CliFailure, R | Io> =>
  Effect.catch(effect, (e) => Effect.flatMap(fromError(e), (failure) => Effect.fail(failure)))
