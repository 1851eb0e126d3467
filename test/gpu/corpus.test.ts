import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { flashlight } from "../support/corpus/flashlight.ts"
import { frameworks } from "../support/corpus/frameworks.ts"
import { huggingFace } from "../support/corpus/huggingFace.ts"
import { inductor } from "../support/corpus/inductor.ts"
import { inputsOf, settingsOf } from "../support/corpus/Spelling.ts"
import { limitsOf, runProgram } from "../support/runProgram.ts"
import { expectOutputs } from "../support/tolerance.ts"

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))
/** Few rows and many: each goes to kernels of its own. */
const lengths = [
  { B: 2, T: 5, S: 7, C: 9, L: 8, N: 3 },
  { B: 1, T: 35, S: 37, C: 40, L: 37, N: 2 }
] as const

/** Published spellings through every pass and the software GPU, against what was written: another setting of each in turn. */
for (const [name, table] of Object.entries({ inductor, huggingFace, frameworks, flashlight })) {
  describe(`${name} on the GPU`, () => {
    for (const [n, spelling] of table.entries()) {
      const settings = settingsOf(spelling)
      const [setting, graph] = settings[n % settings.length] as (typeof settings)[number]
      test(`${spelling.name} (${setting})`, async () => {
        const sizes = lengths[n % 4 === 3 ? 1 : 0]
        const limits = await limitsOf(n % 8 === 7 ? "gpu" : "cpu")
        const planned = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
        const { graph: kernels, schedules, memory } = planned
        if (memory === undefined) throw new Error("memory was not planned")
        expect(planned.diagnostics.some(({ outcome }) => outcome === "fused")).toBe(true)
        const program = lower({ graph: kernels, schedules, memory }, limits)
        const inputs = inputsOf(spelling, graph, sizes, n)
        const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
        expectOutputs(graph, sizes, await runProgram(program, inputs, sizes), expected, {
          reassociated: true
        })
      })
    }
  })
}
