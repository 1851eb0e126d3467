import { Effect, Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import * as Wasm from "../../backends/wasm/Backend.ts"
import * as Session from "../../backends/wasm/runtime/Session.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import type { MemoryPlan } from "../../ir/MemoryPlan.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { biases } from "../support/family/biases.ts"
import { functions, others } from "../support/family/functions.ts"
import { logits } from "../support/family/logits.ts"
import { averages, statistics, sums, weightsOut } from "../support/family/outputs.ts"
import { randomInputs } from "../support/fusing.ts"
import * as s from "../support/spell.ts"
import { expectOutputs } from "../support/tolerance.ts"

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

/** Lengths that fill no vector, more keys than a tile has, one of each, and none. */
const lengths = [
  { B: 2, T: 5, S: 7, N: 3, L: 6 },
  { B: 1, T: 9, S: 70, N: 1, L: 33 },
  { B: 1, T: 1, S: 1, N: 1, L: 1 },
  { B: 2, T: 3, S: 0, N: 2, L: 0 }
]

const bitsOf = (arrays: ReadonlyArray<HostArray> = []) =>
  arrays.map(({ data }) => Buffer.from(data.buffer).toString("hex"))

const tables = { logits, functions, others, statistics, weightsOut, sums, averages, biases }

/** Cut into as many pieces as there are items, so that several threads share even these. */
const backends = [1, 2, 3, 8].map((threads) => Wasm.of(Session.make({ threads }, 1)))

/** The family of attention on WebAssembly: right, and with the same bits on any number of threads. */
for (const [name, table] of Object.entries(tables)) {
  describe(name, () => {
    for (const [own, { outputs }] of Object.entries(table)) {
      test(own, async () => {
        const graph = s.graph(outputs)
        const executables = await Promise.all(
          backends.map((backend) => {
            const planned = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits: backend.limits }))
            return Effect.runPromise(backend.compile({ ...planned, memory: planned.memory as MemoryPlan }))
          })
        )
        for (const [n, sizes] of lengths.entries()) {
          const inputs = randomInputs(graph, sizes, n)
          const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
          const [one, ...others] = await Promise.all(
            executables.map((e) => Effect.runPromise(e.call(inputs, sizes, { donated: new Set<number>() })))
          )
          expectOutputs(graph, sizes, one as ReadonlyArray<HostArray>, expected, { reassociated: true })
          for (const other of others) expect(bitsOf(other)).toEqual(bitsOf(one))
        }
      })
    }
  })
}
