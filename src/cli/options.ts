import { Effect, Option } from "effect"
import type { CompileOptions } from "../compile.ts"
import type { CliFailure } from "./CliFailure.ts"
import type { Io } from "./Io.ts"
import { pipelineOf } from "./optimise.ts"

/** The options of a definition, with the passes of the command line in place of its own. A misspelt pass is refused here. */
export const compileOptions = (
  options: CompileOptions,
  passes: Option.Option<string>
): Effect.Effect<CompileOptions, CliFailure, Io> =>
  Effect.gen(function* () {
    if (Option.isNone(passes)) return options
    yield* pipelineOf(passes)
    return { ...options, pipeline: passes.value }
  })
