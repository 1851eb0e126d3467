import { Data, Result } from "effect"
import { told, type What } from "../ir/errors.ts"
import * as Form from "../ir/Form.ts"
import * as Graph from "../ir/Graph.ts"
import type { Limits } from "../ir/Limits.ts"
import type { MemoryPlan } from "../ir/MemoryPlan.ts"
import type { Arithmetic, Schedules } from "../ir/Schedule.ts"
import { didYouMean } from "../ir/suggest.ts"
import type { Diagnostic } from "./Diagnostic.ts"
import type { Hook } from "./hooks.ts"
import * as hooks from "./hooks.ts"
import type { Outcome, Pass } from "./Pass.ts"
import { passes } from "./passes.ts"
import type { Snapshot } from "./Snapshot.ts"
import * as Statistics from "./Statistics.ts"
import * as Trail from "./Trail.ts"

/** Passes in the order they run: data, and text such as `canonicalize,normalize-softmax`. */
export type Pipeline = ReadonlyArray<Pass>

/** A pipeline that names no pass of that name. */
export class PipelineError extends Data.TaggedError("PipelineError")<Misspelt & What> {
  constructor(misspelt: Misspelt) {
    super(told(misspelt))
  }
}

interface Misspelt {
  readonly message: string
  readonly hint?: string
}

/** A pass that failed, or left a graph that breaks the rules: a defect of Effuse, with what is needed to see it again. */
export class PassError extends Data.TaggedError("PassError")<Broken & What> {
  constructor(broken: Broken) {
    const again = `\n  error.input is the graph that the pass was given; as input.eir it fails again with\n  ${broken.command} (error.command)`
    super({ ...told({ ...broken, message: `${broken.message}${again}` }), what: broken.message })
  }
}

interface Broken {
  readonly pass: string
  readonly message: string
  readonly hint?: string
  /** The graph that the pass was given, as text. */
  readonly input: string
  /** A command that runs the pass on that text. */
  readonly command: string
  readonly cause?: unknown
}

/** The default pipeline: it reads as a table of contents, `effuse passes` prints it with the reasons. */
export const defaultText = [
  "canonicalize",
  "normalize-softmax",
  "normalize-mask",
  "unexpand-heads",
  "fuse-attention",
  "fuse-elementwise",
  "analyse-mask",
  "choose-schedule",
  "plan-memory"
].join(",")

/** Reads `a,b,c`; spaces and empty names are ignored, so an empty text is the pipeline that does nothing. */
export const parse = (
  text: string,
  known: ReadonlyMap<string, Pass> = passes
): Result.Result<Pipeline, PipelineError> => {
  const names = text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "")
  const found: Array<Pass> = []
  for (const name of names) {
    const pass = known.get(name)
    if (pass === undefined) return Result.fail(unknownPass(name, known))
    found.push(pass)
  }
  return Result.succeed(found)
}

export const print = (pipeline: Pipeline): string => pipeline.map((pass) => pass.name).join(",")

const unknownPass = (name: string, known: ReadonlyMap<string, Pass>): PipelineError =>
  new PipelineError({
    message: `there is no pass ${JSON.stringify(name)}`,
    hint: didYouMean(name, known.keys()) ?? `the passes are ${[...known.keys()].join(", ")}`
  })

export interface Options {
  readonly limits: Limits
  /** Names of inputs whose memory a call may overwrite. */
  readonly donated?: ReadonlySet<string>
  /** What products of numbers that are stored as f16 may be multiplied in. Float32 unless given. */
  readonly arithmetic?: Arithmetic
  readonly hooks?: ReadonlyArray<Hook>
  /** Verify the graph and its form after each pass. On unless switched off. */
  readonly verify?: boolean
  /** Count how often each rule is tried and how long that takes: `tallies` of the snapshots. Off unless asked for. */
  readonly statistics?: boolean
}

export interface Compiled {
  readonly graph: Graph.Graph
  readonly snapshots: ReadonlyArray<Snapshot>
  readonly diagnostics: ReadonlyArray<Diagnostic>
  /** Empty unless choose-schedule ran and nothing changed the graph after it. */
  readonly schedules: Schedules
  /** Undefined unless plan-memory ran and nothing changed the graph after it. */
  readonly memory: MemoryPlan | undefined
}

/** Runs the passes in order. Stops at the first that fails or leaves a graph that does not verify. */
export const run = (
  pipeline: Pipeline,
  graph: Graph.Graph,
  options: Options
): Result.Result<Compiled, PassError> => {
  const listening =
    options.verify === false ? (options.hooks ?? []) : [hooks.verify, ...(options.hooks ?? [])]
  const snapshots: Array<Snapshot> = []
  const trail = Trail.make()
  let current = graph
  let schedules: Schedules = new Map()
  let memory: MemoryPlan | undefined
  for (const pass of pipeline) {
    const form = pass.from === "any" ? undefined : Form.check(current, pass.from)
    if (form !== undefined && Result.isFailure(form)) {
      return Result.fail(misplaced(pass, current, form.failure.message))
    }
    const { count, ...counted } = Statistics.collector(options.statistics === true, trail.within(pass.name))
    const { limits, donated = new Set<string>(), arithmetic = "f32" } = options
    const context = { limits, donated, count, arithmetic }
    const started = performance.now()
    let outcome: Outcome
    try {
      outcome = pass.run(current, context)
    } catch (cause) {
      return Result.fail(
        failure(pass, current, cause instanceof Error ? cause.message : String(cause), cause)
      )
    }
    const milliseconds = performance.now() - started
    const changed = !Graph.equals(current, outcome.graph)
    // A graph that was rebuilt without a change is the one that came, which need not be checked again.
    const plans = outcome.schedules !== undefined || outcome.memory !== undefined
    const left = changed || plans ? outcome.graph : current
    // Schedules and plans name nodes, so they are good for the very graph they were made for.
    schedules = outcome.schedules ?? (left === current ? schedules : new Map())
    memory = outcome.memory ?? (left === current ? memory : undefined)
    const { diagnostics } = outcome
    const snapshot = { pass: pass.name, graph: left, changed, milliseconds, diagnostics, ...counted }
    for (const hook of listening) {
      const violations = hook({ pass, before: current, snapshot })
      if (violations.length > 0) return Result.fail(failure(pass, current, violations.join("; ")))
    }
    snapshots.push(snapshot)
    current = left
  }
  return Result.succeed({
    graph: current,
    snapshots,
    diagnostics: snapshots.flatMap((s) => s.diagnostics),
    schedules,
    memory
  })
}

const misplaced = (pass: Pass, input: Graph.Graph, why: string): PassError =>
  new PassError({
    pass: pass.name,
    message: `the pass ${pass.name} takes graphs of the form ${pass.from}: ${why}`,
    hint: "run the passes in the order of the default pipeline",
    ...hooks.reproducer(pass.name, input)
  })

const failure = (pass: Pass, input: Graph.Graph, why: string, cause?: unknown): PassError =>
  new PassError({
    pass: pass.name,
    message: `the pass ${pass.name} failed: ${why}`,
    hint: "this is a defect of Effuse: please report it with the command and its input",
    ...hooks.reproducer(pass.name, input),
    ...(cause === undefined ? {} : { cause })
  })
