import { describe, expect, test } from "vitest"
import { flashlight } from "../support/corpus/flashlight.ts"
import { frameworks } from "../support/corpus/frameworks.ts"
import { huggingFace } from "../support/corpus/huggingFace.ts"
import { inductor } from "../support/corpus/inductor.ts"
import { inputsOf, settingsOf } from "../support/corpus/Spelling.ts"
import { agreesOnGpu } from "../support/onGpu.ts"

/** Few rows and many: each goes to kernels of its own. */
const lengths = [
  { B: 2, T: 5, S: 7, C: 9, L: 8, N: 3 },
  { B: 1, T: 35, S: 37, C: 40, L: 37, N: 2 }
] as const

/** Published spellings, each in another setting, by kernels for either kind of device. */
for (const [name, table] of Object.entries({ inductor, huggingFace, frameworks, flashlight })) {
  describe(`${name} on the GPU`, () => {
    for (const [n, spelling] of table.entries()) {
      const settings = settingsOf(spelling)
      const [setting, graph] = settings[n % settings.length] as (typeof settings)[number]
      test(`${spelling.name} (${setting})`, async () => {
        const sizes = lengths[n % 4 === 3 ? 1 : 0]
        const inputs = inputsOf(spelling, graph, sizes, n)
        const diagnostics = await agreesOnGpu(graph, sizes, inputs, n % 8 === 7 ? "gpu" : "cpu")
        expect(diagnostics.filter(({ outcome }) => outcome === "fused").length).toBe(spelling.nodes ?? 1)
      })
    }
  })
}
