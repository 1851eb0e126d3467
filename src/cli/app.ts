import { Cause, Effect, FileSystem, Layer, Path, Stdio, Terminal } from "effect"
import { CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import { ChildProcessSpawner } from "effect/process"
import { CliFailure, exitCodes } from "./CliFailure.ts"
import { commands } from "./commands.ts"
import { fromError, isKnownError } from "./fromError.ts"
import { Io } from "./Io.ts"
import type { Paint } from "./Paint.ts"
import { plain } from "./Paint.ts"
import { version } from "./version.ts"

const codes = Object.values(exitCodes)
  .map(({ code, meaning }) => `    ${String(code).padStart(2)}  ${meaning}`)
  .join("\n")

const root = Command.make("effuse").pipe(
  Command.withDescription(
    `Compiles attention written as tensor expressions, shows what it does, and runs it.\n\n  exit codes\n${codes}`
  ),
  Command.withExamples([
    { command: "effuse explain attention.ts" },
    { command: "effuse run attention.ts#gqa --random 1 --dim B=1 --dim T=64 --dim S=64" },
    { command: "effuse dump attention.eir --after fuse-attention" }
  ]),
  Command.withSubcommands(commands)
)

/** A failure as people read it: what, where, the line with a caret, what to try. */
const rendered = (failure: CliFailure, paint: Paint, debug: boolean): string => {
  const { where, message, source, hint, cause } = failure
  const place = where === undefined ? "" : `${paint("strong", where)}: `
  const lines = [`${place}${paint("bad", "error:")} ${message}`]
  if (source !== undefined) lines.push(source.replace(/^/gm, "  | "))
  if (hint !== undefined) lines.push(`${paint("note", "try:")} ${hint}`)
  if (failure.exit === "defect") {
    const { input, command } = (cause ?? {}) as { readonly input?: string; readonly command?: string }
    if (command !== undefined) lines.push(`to see it again: ${command}, on`, input ?? "")
  }
  if (debug && cause instanceof Error) lines.push(cause.stack ?? "")
  return lines.join("\n")
}

/** Help on standard output; what is wrong with the command line on standard error, with the way to the help. */
const presenter = (io: Io["Service"]): CliOutput.Presenter => {
  const help = CliOutput.defaultFormatter({ colors: io.paint !== plain, globalFlags: "summary" })
  return {
    present: (event) => {
      switch (event._tag) {
        case "Help":
          return io.print(help.formatHelpDoc(event.helpDoc))
        case "Version":
          return io.print(event.version)
        case "InvalidInvocation": {
          const messages = event.errors.map(
            (e) => `${io.paintError("bad", "error:")} ${help.formatCliError(e)}`
          )
          const way = `${io.paintError("note", "try:")} ${event.commandPath.join(" ")} --help`
          return io.tell([...messages, way].join("\n"))
        }
      }
    }
  }
}

/** What effect/cli asks for and these commands never use: they read files through `Io`, and ask nobody anything. */
const unused = Layer.mergeAll(
  FileSystem.layerNoop({}),
  Path.layer,
  Stdio.layerTest({}),
  Layer.succeed(
    Terminal.Terminal,
    Terminal.make({
      columns: Effect.succeed(100),
      rows: Effect.succeed(40),
      size: Effect.die("there is no terminal to ask"),
      readInput: Effect.die("there is no terminal to ask"),
      readLine: Effect.die("there is no terminal to ask"),
      display: () => Effect.void
    })
  ),
  Layer.succeed(
    ChildProcessSpawner.ChildProcessSpawner,
    ChildProcessSpawner.make(() => Effect.die("no command starts a process"))
  )
)

/** Runs a command line and gives the exit code. Never fails: everything that goes wrong is told and becomes a code. */
export const app = (args: ReadonlyArray<string>): Effect.Effect<number, never, Io> =>
  Effect.gen(function* () {
    const io = yield* Io
    const debug = io.env["EFFUSE_DEBUG"] === "1"
    const fail = (failure: CliFailure) =>
      Effect.as(io.tell(rendered(failure, io.paintError, debug)), exitCodes[failure.exit].code)
    return yield* Command.runWith(root, { version: version() })(args).pipe(
      Effect.as<number>(exitCodes.ok.code),
      Effect.provideService(CliOutput.Presenter, presenter(io)),
      Effect.provide(
        CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
      ),
      Effect.provide(unused),
      Effect.catch((e: unknown) => {
        if (CliError.isCliError(e)) return Effect.succeed(exitCodes.usage.code)
        return e instanceof CliFailure ? fail(e) : Effect.die(e)
      }),
      Effect.catchCause((cause) => {
        const error = Cause.squash(cause)
        if (isKnownError(error)) return Effect.flatMap(fromError(error), fail)
        const message = error instanceof Error ? error.message : String(error)
        const hint = "this is a defect of Effuse: please report it; EFFUSE_DEBUG=1 prints where it happened"
        return fail(new CliFailure({ exit: "defect", message, hint, cause: error }))
      })
    )
  })
