import { expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import type { Node } from "../../../ir/Node.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { fused } from "../../support/kernelTexts.ts"
import { limitsOf, runProgram } from "../../support/runProgram.ts"

test.each(["f32", "f16"] as const)(
  "an update of a donated %s input is written into its buffer",
  async (d) => {
    for (const wrap of [false, true]) {
      const text = fused(
        [
          ["cache", `${d}[B, C, 3]`],
          ["new", `${d}[B, T, 3]`],
          ["start", "i32[B]"]
        ],
        `${d}[B, C, 3]`,
        [
          `%n: ${d}[B, T, 3] = neg %new`,
          `%u: ${d}[B, C, 3] = update_slice %cache, %n, %start {axis = 1, wrap = ${wrap}}`
        ],
        "u"
      )
      const graph = graphOf(text)
      const node = graph.outputs[0]?.node as Node
      const memory = { slots: [], slotOf: new Map(), inPlace: new Map([[node, 0]]) }
      const program = lower({ graph, schedules: new Map(), memory }, await limitsOf("cpu"))
      expect(program.outputs[0]?.donor).toBe(0)
      const from = arrays.random(2)
      const sizes = { B: 3, C: 5, T: 3 }
      const values = [
        arrays.array(from, d, [3, 5, 3]),
        arrays.array(from, d, [3, 3, 3]),
        HostArray.fromNumbers("i32", [3], Float64Array.of(-1, 1, 4))
      ]
      const [expected] = Reference.evaluate(graph, values, sizes)
      for (const donated of [new Set<number>(), new Set([0])]) {
        const [actual] = await runProgram(program, values, sizes, donated)
        expect(actual?.data).toEqual(expected?.data)
        // The update alone is written: the rest of a donated buffer is neither read nor copied.
        const [step, ...more] = Program.steps(program, sizes, donated)
        expect([program.kernels[step?.kernel as number]?.name, more.length]).toEqual([
          donated.size > 0 ? "update" : "map",
          0
        ])
      }
    }
  }
)
