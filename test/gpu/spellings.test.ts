import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import * as arrays from "../support/arrays.ts"
import { randomInputs } from "../support/fusing.ts"
import { limitsOf, runProgram } from "../support/runProgram.ts"
import { spelling } from "../support/spelling.ts"
import { expectOutputs } from "../support/tolerance.ts"

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

/** Attention as people write it, through every pass and the software GPU, against what was written. */
describe("random spellings on the GPU", () => {
  for (const seed of [2, 5, 13]) {
    const from = arrays.random(seed)
    const { graph, words } = spelling(from)
    test(words, async () => {
      const limits = await limitsOf(seed % 2 === 0 ? "gpu" : "cpu")
      const planned = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
      expect(planned.diagnostics.filter((d) => d.outcome === "fused").length).toBe(1)
      const { graph: kernels, schedules, memory } = planned
      if (memory === undefined) throw new Error("memory was not planned")
      const program = lower({ graph: kernels, schedules, memory }, limits)
      const sizes = { B: from.integer(1, 2), T: from.integer(1, 7), S: from.integer(1, 9) }
      const inputs = randomInputs(graph, sizes, seed)
      const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
      expectOutputs(graph, sizes, await runProgram(program, inputs, sizes), expected, { reassociated: true })
    })
  }
})
