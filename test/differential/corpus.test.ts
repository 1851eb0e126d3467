import { Effect, Result } from "effect"
import { describe, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import type * as Dim from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import { compileGraph } from "../../src/compile.ts"
import { trace } from "../../src/trace.ts"
import * as Wasm from "../../src/Wasm.ts"
import { flashlight } from "../support/corpus/flashlight.ts"
import { frameworks } from "../support/corpus/frameworks.ts"
import { huggingFace } from "../support/corpus/huggingFace.ts"
import { inductor } from "../support/corpus/inductor.ts"
import { inputsOf, settingsOf } from "../support/corpus/Spelling.ts"
import { enlarged, pieces, randomised } from "../support/gallery.ts"
import { expectOutputs } from "../support/tolerance.ts"

/** Published spellings and the gallery on WebAssembly: what the float64 oracle makes of the graph as written. */
const agrees = async (graph: Graph, sizes: Dim.Bindings, inputs: ReadonlyArray<HostArray>): Promise<void> => {
  const whole = Effect.gen(function* () {
    const f = yield* compileGraph(graph, { requireFused: true })
    const named = Object.fromEntries(graph.inputs.map(({ attrs }, i) => [attrs.name, inputs[i]]))
    const results: { readonly [name: string]: HostArray } = yield* f(named as never)
    const actual = graph.outputs.map(({ name }) => results[name] as HostArray)
    const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
    expectOutputs(graph, sizes, actual, expected, { reassociated: true, exponent: 16 })
  })
  await Effect.runPromise(Effect.provide(whole, Wasm.layer))
}

const lengths = [
  { B: 2, T: 5, S: 7, C: 9, L: 8, N: 3 },
  { B: 1, T: 35, S: 37, C: 40, L: 37, N: 2 }
] as const

for (const [name, table] of Object.entries({ inductor, huggingFace, frameworks, flashlight })) {
  describe(`${name} on WebAssembly`, () => {
    for (const spelling of table) {
      test(spelling.name, async () => {
        for (const [n, [, graph]] of settingsOf(spelling).entries()) {
          const sizes = lengths[n % 2 === 0 ? 0 : 1]
          await agrees(graph, sizes, inputsOf(spelling, graph, sizes, n))
        }
      })
    }
  })
}

describe("the gallery on WebAssembly", () => {
  for (const [name, exhibit] of pieces) {
    test(name, async () => {
      const { graph } = Result.getOrThrow(trace(exhibit.fn as Parameters<typeof trace>[0], exhibit.signature))
      const large = enlarged(exhibit)
      const given = (inputs: typeof large.inputs) =>
        graph.inputs.map(({ attrs }) => inputs[attrs.name] as HostArray)
      await agrees(graph, exhibit.lengths, given(randomised(exhibit)))
      await agrees(graph, large.lengths, given(large.inputs))
    })
  }
})
