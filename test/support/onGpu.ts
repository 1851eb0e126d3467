import { Result } from "effect"
import * as Reference from "../../backends/reference/Reference.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import type * as Dim from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import type { Limits } from "../../ir/Limits.ts"
import type { Diagnostic } from "../../passes/Diagnostic.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { limitsOf, runProgram } from "./runProgram.ts"
import { expectOutputs } from "./tolerance.ts"

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

/** A graph through every pass and the software GPU gives what it says by the float64 reference. */
export const agreesOnGpu = async (
  graph: Graph,
  sizes: Dim.Bindings,
  inputs: ReadonlyArray<HostArray>,
  kind: Limits["kind"] = "cpu"
): Promise<ReadonlyArray<Diagnostic>> => {
  const limits = await limitsOf(kind)
  const planned = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
  const { graph: kernels, schedules, memory, diagnostics } = planned
  if (memory === undefined) throw new Error("memory was not planned")
  const program = lower({ graph: kernels, schedules, memory }, limits)
  const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
  const actual = await runProgram(program, inputs, sizes)
  expectOutputs(graph, sizes, actual, expected, { reassociated: true })
  return diagnostics
}
