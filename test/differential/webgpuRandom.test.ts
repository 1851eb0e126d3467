import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import * as Program from "../../backends/webgpu/Program.ts"
import * as Graph from "../../ir/Graph.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import * as arrays from "../support/arrays.ts"
import { randomGraph } from "../support/randomGraph.ts"
import { limitsOf, runProgram } from "../support/runProgram.ts"
import { expectOutputs } from "../support/tolerance.ts"

const pipeline = Result.getOrThrow(Pipeline.parse("fuse-elementwise,choose-schedule,plan-memory"))

describe("random programs, cut into kernels, give on the software GPU what the reference gives", () => {
  const lengths = [
    { T: 5, S: 3 },
    { T: 1, S: 7 },
    { T: 0, S: 4 },
    { T: 3, S: 0 }
  ]
  test.each(Array.from({ length: 16 }, (_, i) => i + 1))("seed %i", async (seed) => {
    const graph = randomGraph(seed)
    const limits = await limitsOf("cpu")
    const compiled = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
    const { schedules, memory } = compiled
    if (memory === undefined) throw new Error("plan-memory ran last")
    const program = lower({ graph: compiled.graph, schedules, memory }, limits)
    for (const sizes of lengths) {
      const from = arrays.random(seed)
      const inputs = graph.inputs.map((i) =>
        arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
      )
      const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
      const actual = await runProgram(program, inputs, sizes)
      expectOutputs(graph, sizes, actual, expected, { exponent: 8, reassociated: true })
      expect(Program.steps(program, sizes).length).toBeLessThanOrEqual(
        Graph.make(graph.outputs).nodes.length + graph.outputs.length
      )
    }
  })
})
