import { Result } from "effect"
import type { Stats } from "../../backends/Backend.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import { statsOf } from "../../backends/webgpu/stats.ts"
import * as Dim from "../../ir/Dim.ts"
import type * as Graph from "../../ir/Graph.ts"
import type * as Limits from "../../ir/Limits.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { pipelineText } from "../compile.ts"
import { isKnownError } from "./fromError.ts"

/** What a call costs on WebGPU, counted and not measured. */
export interface Cost {
  readonly sizes: Dim.Bindings
  readonly compiled: Stats
  /** The same graph with its attention by parts. */
  readonly unfused?: Stats
}

/** Lengths to count at: as asked for, else 1 for what leads axes of batches and 512 for all others. */
export const sizesFor = (graph: Graph.Graph, asked: ReadonlyMap<string, number>): Dim.Bindings => {
  const batches = new Set(
    graph.inputs.flatMap(({ type: { shape } }) =>
      shape.length > 2 && shape[0] !== undefined ? Dim.symbols(shape[0]) : []
    )
  )
  const symbols = graph.inputs.flatMap((i) => i.type.shape.flatMap(Dim.symbols))
  return Object.fromEntries(symbols.map((s) => [s, asked.get(s) ?? (batches.has(s) ? 1 : 512)]))
}

/** Undefined where WebGPU cannot run the program, such as one of float64. */
const stats = (
  compiled: Pick<Pipeline.Compiled, "graph" | "schedules" | "memory">,
  limits: Limits.Limits,
  sizes: Dim.Bindings
): Stats | undefined => {
  const { graph, schedules, memory } = compiled
  if (memory === undefined) return undefined
  try {
    const plan = { graph, schedules, memory }
    return statsOf(plan, lower(plan, limits), limits, sizes)
  } catch (error) {
    if (isKnownError(error)) return undefined
    throw error
  }
}

/** The cost of a compiled graph, beside that of the graph with its attention left as it was written. */
export const costOf = (
  graph: Graph.Graph,
  compiled: Pipeline.Compiled,
  limits: Limits.Limits,
  sizes: Dim.Bindings
): Cost | undefined => {
  const own = stats(compiled, limits, sizes)
  if (own === undefined) return undefined
  const pipeline = Result.getOrThrow(Pipeline.parse(pipelineText("canonicalize,normalize-softmax")))
  const parts = Result.getOrUndefined(Pipeline.run(pipeline, graph, { limits, verify: false }))
  const unfused = parts === undefined ? undefined : stats(parts, limits, sizes)
  return { sizes, compiled: own, ...(unfused === undefined ? {} : { unfused }) }
}
