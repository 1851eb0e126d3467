import { Effect } from "effect"
import * as Backend from "../backends/Backend.ts"
import * as Dim from "../ir/Dim.ts"
import * as Graph from "../ir/Graph.ts"
import * as MemoryPlan from "../ir/MemoryPlan.ts"
import * as Print from "../ir/Print.ts"
import { type Arithmetic, arithmetics } from "../ir/Schedule.ts"
import { suggest } from "../ir/suggest.ts"
import { explain } from "../passes/explain.ts"
import { explainText } from "../passes/explainText.ts"
import type { Hook } from "../passes/hooks.ts"
import * as Pipeline from "../passes/Pipeline.ts"
import { type Bound, binder } from "./bind.ts"
import type { Compiled, DeviceResult, HostResult, Inputs } from "./Compiled.ts"
import { type CompileError, FusionRequired, SignatureError } from "./errors.ts"
import type { TensorsOf } from "./spec.ts"
import { arrange, type Returned, type Signature, type Traced, trace } from "./trace.ts"
import { type TuneOptions, tune } from "./tune.ts"
import { tuneOptions } from "./tuneOptions.ts"

export interface CompileOptions {
  /** Fail with `FusionRequired`, and the reason, unless every softmax attention became a flash_attention node. */
  readonly requireFused?: boolean
  /** Arguments whose memory a call may overwrite: pass them as device arrays, they are gone after the call. */
  readonly donate?: ReadonlyArray<string>
  /**
   * Passes to run, by name and in order, instead of the default pipeline. Those that a backend cannot do without
   * (fuse-elementwise, choose-schedule, plan-memory) are appended where they are missing.
   */
  readonly pipeline?: string
  /**
   * Measure how attention is cut into tiles on this device, instead of choosing by its limits alone: a few seconds at the first compilation, nothing at
   * later ones, since the answer is kept. WebGPU only.
   */
  readonly tune?: boolean | TuneOptions
  /**
   * What products of numbers stored as f16 may be multiplied in, where the device can: "f16" is faster and rounds each product to 11 bits. Sums, the
   * softmax and whatever is not stored as f16 stay float32, as does everything unless this is given. `explain` says where it was not possible.
   */
  readonly arithmetic?: Arithmetic
  /** Called after each pass. */
  readonly hooks?: ReadonlyArray<Hook>
  /** Count how often each rule is tried, and how long that takes: see `Compiled.explanation`. */
  readonly statistics?: boolean
}

const indispensable = ["fuse-elementwise", "choose-schedule", "plan-memory"]

/** The pipeline of a compilation as text: the caller's, completed, or the default one. */
export const pipelineText = (text: string | undefined): string => {
  if (text === undefined) return Pipeline.defaultText
  const names = text
    .split(",")
    .map((n) => n.trim())
    .filter((n) => n !== "")
  return [...names, ...indispensable.filter((n) => !names.includes(n))].join(",")
}

/**
 * Compiles a function over tensors for the backend in context. The function is traced once; symbols in the signature
 * stand for lengths, and no kernel is made for one of them.
 *
 *     const f = yield* compile(({ q, k, v }) => …, { q: spec("f32", ["B", 8, "T", 64]), … })
 *     const out = yield* f({ q, k, v })
 */
export const compile = <const S extends Signature, const R extends Returned>(
  fn: (inputs: TensorsOf<S>) => R,
  signature: S,
  options: CompileOptions = {}
): Effect.Effect<Compiled<S, R>, CompileError, Backend.Backend> =>
  Effect.gen(function* () {
    const traced = yield* Effect.fromResult(trace(fn as (inputs: never) => Returned, signature))
    return yield* compileTraced<S, R>(traced, options)
  })

/** Compiles a graph that is already built, such as one read from text. */
export const compileGraph = (
  graph: Graph.Graph,
  options: CompileOptions = {}
): Effect.Effect<Compiled<Signature, { readonly [name: string]: never }>, CompileError, Backend.Backend> =>
  compileTraced({ graph, arrangement: "record" }, options)

const compileTraced = <S extends Signature, R extends Returned>(
  traced: Traced,
  options: CompileOptions
): Effect.Effect<Compiled<S, R>, CompileError, Backend.Backend> =>
  Effect.gen(function* () {
    const backend = yield* Backend.Backend
    const parameters = traced.graph.inputs.map((i) => ({ name: i.attrs.name, type: i.type }))
    const donated = new Set(options.donate ?? [])
    for (const name of donated) {
      if (!parameters.some((p) => p.name === name)) {
        return yield* new SignatureError({
          input: name,
          message: `cannot donate ${JSON.stringify(name)}: there is no such input`,
          hint: `the inputs are ${parameters.map((p) => p.name).join(", ")}`
        })
      }
    }
    const given = new Set(parameters.flatMap((p) => p.type.shape.flatMap(Dim.symbols)))
    const symbols = [...given].sort()
    const unknown = Graph.symbols(traced.graph).filter((s) => !given.has(s))
    if (unknown.length > 0) {
      return yield* new SignatureError({
        message: `no input determines the length ${unknown.join(", ")}`,
        hint: "use a number, or a name that occurs in the shape of an input"
      })
    }
    const { hooks = [], statistics = false, arithmetic = "f32" } = options
    if (!arithmetics.includes(arithmetic)) {
      return yield* new SignatureError({
        message: `there is no arithmetic ${String(arithmetic)}`,
        hint: `pass ${arithmetics.map((a) => JSON.stringify(a)).join(" or ")}`
      })
    }
    const measured = yield* Effect.fromResult(tuneOptions(options.tune, traced.graph))
    const text = pipelineText(options.pipeline)
    const pipeline = yield* Effect.fromResult(Pipeline.parse(text)).pipe(
      Effect.mapError(
        (e) => new SignatureError({ message: e.what, ...(e.hint === undefined ? {} : { hint: e.hint }) })
      )
    )
    const settings = { hooks, statistics, arithmetic }
    const compiled = yield* Effect.fromResult(
      Pipeline.run(pipeline, traced.graph, { limits: backend.limits, donated, ...settings })
    )
    const explanation = () => explain(compiled)
    if (options.requireFused === true) {
      const missed = compiled.diagnostics.some((d) => d.outcome === "refused")
      const fused = compiled.diagnostics.some((d) => d.outcome === "fused")
      if (missed || !fused) {
        const reasons = explainText(explanation())
        const message = fused || missed ? reasons : `there is no attention to fuse\n${reasons}`
        return yield* new FusionRequired({
          message,
          explanation: explanation(),
          hint: "change the expression as the reasons say, or drop requireFused"
        })
      }
    }
    const memory = compiled.memory ?? MemoryPlan.none
    const plan = { graph: compiled.graph, schedules: compiled.schedules, memory }
    const schedules =
      measured !== undefined && backend.name === "webgpu"
        ? yield* tune(backend, plan, measured)
        : plan.schedules
    const executable = yield* backend.compile({ ...plan, schedules })
    // Constraints of the traced graph: passes may drop the node that needed one, but the caller's promise stays.
    const constraints = Graph.constraints(traced.graph)
    const bind = binder(parameters, constraints)
    const donatedAt = new Set(parameters.flatMap((p, i) => (donated.has(p.name) ? [i] : [])))

    const bound = <A, E, Q>(inputs: Inputs<S>, run: (bound: Bound) => Effect.Effect<A, E, Q>) =>
      Effect.flatMap(
        Effect.suspend(() => Effect.fromResult(bind(inputs))),
        run
      )

    const onDevice = (inputs: Inputs<S>) =>
      bound(inputs, ({ values, sizes }) =>
        Effect.map(
          executable.run(values, sizes, { donated: donatedAt }),
          (results) => arrange(traced, results) as DeviceResult<R>
        )
      )

    const call = (inputs: Inputs<S>) =>
      bound(inputs, ({ values, sizes }) =>
        Effect.map(
          executable.call(values, sizes, { donated: donatedAt }),
          (results) => arrange(traced, results) as HostResult<R>
        )
      )

    const profile = (inputs: Inputs<S>) =>
      bound(inputs, ({ values, sizes }) => executable.profile(values, sizes, { donated: donatedAt }))

    const stages = new Map<string, Graph.Graph>([["traced", traced.graph]])
    for (const { pass, graph } of compiled.snapshots) stages.set(`after-${pass}`, graph)
    const graphAt = (stage?: string): Graph.Graph => {
      if (stage === undefined) return compiled.graph
      const found = stages.get(stage) ?? stages.get(`after-${stage}`)
      if (found !== undefined) return found
      const near = suggest(stage, stages.keys())
      const hint =
        near === undefined ? `the stages are ${[...stages.keys()].join(", ")}` : `did you mean ${near}?`
      throw new RangeError(`there is no stage ${JSON.stringify(stage)}: ${hint}`)
    }

    return Object.assign(call, {
      onDevice,
      profile,
      symbols,
      explain: () => explainText(explanation()),
      explanation,
      diagnostics: compiled.diagnostics,
      ir: (stage?: string) => Print.graph(graphAt(stage)),
      graph: graphAt,
      snapshots: compiled.snapshots,
      program: executable.program,
      stats: (sizes: Dim.Bindings) => {
        const open = symbols.filter((s) => !Object.hasOwn(sizes, s))
        if (open.length > 0) throw new RangeError(`stats: the length ${open.join(", ")} is not given`)
        return executable.stats(sizes)
      }
    }) satisfies Compiled<S, R>
  })
