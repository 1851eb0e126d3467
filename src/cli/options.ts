import { Effect, Option } from "effect"
import type { Arithmetic } from "../../ir/Schedule.ts"
import type { CompileOptions } from "../compile.ts"
import type { CliFailure } from "./CliFailure.ts"
import type { Io } from "./Io.ts"
import { pipelineOf } from "./optimise.ts"

interface Asked {
  readonly passes: Option.Option<string>
  readonly arithmetic: Option.Option<Arithmetic>
}

/** The options of a definition, with the passes and the arithmetic of the command line in place of its own. A misspelt pass is refused here. */
export const compileOptions = (
  options: CompileOptions,
  { passes, arithmetic }: Asked
): Effect.Effect<CompileOptions, CliFailure, Io> =>
  Effect.gen(function* () {
    yield* pipelineOf(passes)
    return {
      ...options,
      ...(Option.isNone(passes) ? {} : { pipeline: passes.value }),
      ...(Option.isNone(arithmetic) ? {} : { arithmetic: arithmetic.value })
    }
  })
