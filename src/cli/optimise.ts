import { Effect, Option } from "effect"
import type * as Graph from "../../ir/Graph.ts"
import type * as Limits from "../../ir/Limits.ts"
import type { Arithmetic } from "../../ir/Schedule.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import type { CliFailure } from "./CliFailure.ts"
import { orFail } from "./fromError.ts"
import type { Io } from "./Io.ts"

export interface Options {
  readonly passes: Option.Option<string>
  readonly limits: Limits.Limits
  readonly donate?: ReadonlyArray<string> | undefined
  readonly statistics?: boolean
  readonly arithmetic?: Arithmetic | undefined
}

/** The pipeline that is asked for, or the default one. */
export const pipelineOf = (passes: Option.Option<string>): Effect.Effect<Pipeline.Pipeline, CliFailure, Io> =>
  orFail(Effect.fromResult(Pipeline.parse(Option.getOrElse(passes, () => Pipeline.defaultText))))

/** Runs passes on a graph. */
export const optimise = (
  graph: Graph.Graph,
  options: Options
): Effect.Effect<Pipeline.Compiled, CliFailure, Io> =>
  Effect.gen(function* () {
    const pipeline = yield* pipelineOf(options.passes)
    const { limits, statistics = false, arithmetic = "f32" } = options
    const donated = new Set(options.donate ?? [])
    const settings = { limits, donated, statistics, arithmetic }
    return yield* orFail(Effect.fromResult(Pipeline.run(pipeline, graph, settings)))
  })
