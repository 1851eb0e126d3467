import { Result } from "effect"
import { lower } from "../../backends/webgpu/lower.ts"
import * as Program from "../../backends/webgpu/Program.ts"
import type { Bindings } from "../../ir/Dim.ts"
import type { Limits } from "../../ir/Limits.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { trace } from "../../src/trace.ts"

/** A function to be compiled, and what its calls give away. */
export interface Source {
  readonly fn: unknown
  readonly signature: object
  readonly donate?: ReadonlyArray<string>
}

/** The program of a function for WebGPU, through the default passes. */
export const programOf = ({ fn, signature, donate = [] }: Source, limits: Limits): Program.Program => {
  const { graph } = Result.getOrThrow(trace(fn as Parameters<typeof trace>[0], signature as never))
  const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))
  const plan = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits, donated: new Set(donate) }))
  const { memory } = plan
  if (memory === undefined) throw new Error("memory is planned")
  return lower({ graph: plan.graph, schedules: plan.schedules, memory }, limits)
}

/** The steps of a call that gives these arguments away. */
export const stepsOf = (
  program: Program.Program,
  sizes: Bindings,
  donate: ReadonlyArray<string> = []
): ReadonlyArray<Program.Step> =>
  Program.steps(
    program,
    sizes,
    new Set(donate.map((name) => program.inputs.findIndex((i) => i.name === name)))
  )

/** Names of the kernels that such a call dispatches. */
export const dispatchesOf = (
  program: Program.Program,
  sizes: Bindings,
  donate?: ReadonlyArray<string>
): ReadonlyArray<string> =>
  stepsOf(program, sizes, donate).map((s) => (program.kernels[s.kernel] as Program.Kernel).name)
