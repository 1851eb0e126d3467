import { Result } from "effect"
import * as Reference from "../../backends/reference/Reference.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import * as Program from "../../backends/webgpu/Program.ts"
import type { Bindings } from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import type { Limits } from "../../ir/Limits.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import * as arrays from "./arrays.ts"
import { graphOf } from "./evaluate.ts"
import { limitsOf, runProgram } from "./runProgram.ts"
import { expectOutputs } from "./tolerance.ts"

const pipeline = Result.getOrThrow(Pipeline.parse("fuse-elementwise,choose-schedule,plan-memory"))

export interface Call {
  readonly sizes: Bindings
  readonly donated?: ReadonlyArray<number>
  /** In place of random numbers, by name. */
  readonly inputs?: { readonly [name: string]: HostArray }
}

/** Runs calls through the passes on the software device, compares with the reference and gives the kernels that each dispatched. */
export const dispatched = async (
  source: string | Graph,
  calls: ReadonlyArray<Call>,
  change: Partial<Limits> = {},
  donate: ReadonlyArray<string> = []
): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
  const graph = typeof source === "string" ? graphOf(source) : source
  const limits = { ...(await limitsOf("cpu")), ...change }
  const made = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits, donated: new Set(donate) }))
  const { memory } = made
  if (memory === undefined) throw new Error("memory was not planned")
  const program = lower({ graph: made.graph, schedules: made.schedules, memory }, limits)
  const names: Array<ReadonlyArray<string>> = []
  for (const { sizes, donated = [], inputs: own = {} } of calls) {
    const from = arrays.random(3)
    const inputs = graph.inputs.map(
      (i) =>
        own[i.attrs.name] ?? arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes), "uniform")
    )
    const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
    const given = new Set(donated)
    expectOutputs(graph, sizes, await runProgram(program, inputs, sizes, given), expected, { exponent: 8 })
    names.push(
      Program.steps(program, sizes, given).map((s) => (program.kernels[s.kernel] as Program.Kernel).name)
    )
  }
  return names
}
