import { Result } from "effect"
import { describe, it } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import * as arrays from "../support/arrays.ts"
import { randomGraph } from "../support/randomGraph.ts"
import { limitsOf, runProgram } from "../support/runProgram.ts"
import { expectOutputs } from "../support/tolerance.ts"

const pipeline = Result.getOrThrow(
  Pipeline.parse("fuse-elementwise,analyse-mask,choose-schedule,plan-memory")
)

describe.each(["cpu", "gpu"] as const)(
  "random programs in few kernels and shared memory, as on a %s",
  (kind) => {
    it.each([1, 2, 3, 4, 5, 6, 7, 8])("program %i", async (seed) => {
      const graph = randomGraph(seed, 14)
      const limits = await limitsOf(kind)
      const {
        graph: kernels,
        schedules,
        memory
      } = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
      if (memory === undefined) throw new Error("memory was not planned")
      const program = lower({ graph: kernels, schedules, memory }, limits)
      for (const sizes of [
        { T: 5, S: 7 },
        { T: 1, S: 3 }
      ]) {
        const from = arrays.random(seed)
        const inputs = graph.inputs.map((i) =>
          arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes), "uniform")
        )
        const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
        expectOutputs(graph, sizes, await runProgram(program, inputs, sizes), expected)
      }
    })
  }
)
