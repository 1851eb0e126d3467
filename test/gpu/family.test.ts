import { describe, test } from "vitest"
import { biases } from "../support/family/biases.ts"
import { functions } from "../support/family/functions.ts"
import { logits } from "../support/family/logits.ts"
import { averages, statistics, sums, weightsOut } from "../support/family/outputs.ts"
import { randomInputs } from "../support/fusing.ts"
import { agreesOnGpu } from "../support/onGpu.ts"
import * as s from "../support/spell.ts"

/** Few rows and many: each goes to kernels of its own. */
const lengths = [
  { B: 2, T: 5, S: 7, N: 3, L: 6 },
  { B: 1, T: 35, S: 37, N: 2, L: 33 }
] as const

/** The family of attention, by kernels for either kind of device. */
for (const [name, table] of Object.entries({
  logits,
  functions,
  statistics,
  weightsOut,
  sums,
  averages,
  biases
})) {
  describe(`${name} on the GPU`, () => {
    for (const [n, [own, { outputs }]] of Object.entries(table).entries()) {
      test(own, async () => {
        const sizes = lengths[n % 4 === 3 ? 1 : 0]
        const graph = s.graph(outputs)
        await agreesOnGpu(graph, sizes, randomInputs(graph, sizes, n), n % 8 === 7 ? "gpu" : "cpu")
      })
    }
  })
}
