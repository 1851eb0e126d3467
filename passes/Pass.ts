import type { FormName } from "../ir/Form.ts"
import type { Graph } from "../ir/Graph.ts"
import type { Limits } from "../ir/Limits.ts"
import type { MemoryPlan } from "../ir/MemoryPlan.ts"
import type { Arithmetic, Schedules } from "../ir/Schedule.ts"
import type { Diagnostic } from "./Diagnostic.ts"
import type { Count } from "./Statistics.ts"

/**
 * One step of the compiler: a pure function from graphs to graphs that never changes what the graph means. An analysis
 * returns its graph as it came.
 */
export interface Pass {
  /** Kebab-case, as pipelines and the command line write it. */
  readonly name: string
  /** The reason it exists, one line, no full stop. */
  readonly summary: string
  /** The form it accepts; "any" where it works on whatever it is given. */
  readonly from: FormName | "any"
  /** The form it leaves; "same" where it leaves the form it was given. */
  readonly to: FormName | "same"
  /** Throws only on a defect of the pass itself; what it will not do is a diagnostic. */
  readonly run: (graph: Graph, context: Context) => Outcome
}

/** What a pass is told besides its graph. */
export interface Context {
  readonly limits: Limits
  /** Names of inputs whose memory a call may overwrite. */
  readonly donated: ReadonlySet<string>
  readonly count: Count
  /** What products of numbers that are stored as f16 may be multiplied in. Float32 unless given. */
  readonly arithmetic?: Arithmetic
}

/** What a pass leaves. */
export interface Outcome {
  readonly graph: Graph
  readonly diagnostics: ReadonlyArray<Diagnostic>
  /** Set by choose-schedule: for the kernels of `graph`. */
  readonly schedules?: Schedules
  /** Set by plan-memory: for the values of `graph`. */
  readonly memory?: MemoryPlan
}

/** An outcome that says nothing. */
export const quiet = (graph: Graph): Outcome => ({ graph, diagnostics: [] })
