import { Effect } from "effect"
import { UnsupportedByDevice } from "../../backends/errors.ts"
import { detect } from "../../backends/wasm/features.ts"
import { lower } from "../../backends/wasm/lower.ts"
import * as Program from "../../backends/wasm/Program.ts"
import { engine } from "../../backends/wasm/runtime/engine.ts"
import * as MemoryPlan from "../../ir/MemoryPlan.ts"
import type { Compiled } from "../../passes/Pipeline.ts"
import type { CliFailure } from "./CliFailure.ts"
import { isKnownError, type KnownError, orFail } from "./fromError.ts"
import type { Io } from "./Io.ts"

/** The module of the WebAssembly backend for this engine as text, and its program as comments. */
export const wat = ({ graph, schedules, memory }: Compiled): Effect.Effect<string, CliFailure, Io> =>
  orFail(
    Effect.try({
      try: () => {
        const host = engine()
        if (host === undefined) throw new UnsupportedByDevice({ message: "this runtime has no WebAssembly" })
        const plan = {
          graph,
          schedules,
          memory: memory ?? MemoryPlan.none
        }
        return Program.wat(lower(plan, detect(host)))
      },
      catch: (cause): KnownError => {
        if (isKnownError(cause)) return cause
        throw cause
      }
    })
  )
