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

test.each(["f32", "f16"] as const)(
  "entries of %s are scattered into a donated buffer, or a copy",
  async (d) => {
    const text = fused(
      [
        ["pool", `${d}[P, R, 3]`],
        ["new", `${d}[N, 3]`],
        ["page", "i32[N]"],
        ["row", "i32[N]"]
      ],
      `${d}[P, R, 3]`,
      [`%n: ${d}[N, 3] = neg %new`, `%s: ${d}[P, R, 3] = scatter %pool, %n, %page, %row`],
      "s"
    )
    const graph = graphOf(text)
    const memory = { slots: [], slotOf: new Map(), inPlace: new Map([[graph.outputs[0]?.node as Node, 0]]) }
    const program = lower({ graph, schedules: new Map(), memory }, await limitsOf("cpu"))
    const from = arrays.random(2)
    const values = [
      arrays.array(from, d, [3, 5, 3]),
      arrays.array(from, d, [6, 3]),
      // Three are outside.
      HostArray.fromNumbers("i32", [6], [2, 0, 3, 2, -1, 1]),
      HostArray.fromNumbers("i32", [6], [1, 4, 0, 0, 2, 5])
    ]
    const sizes = { P: 3, R: 5, N: 6 }
    const [expected] = Reference.evaluate(graph, values, sizes)
    expect(HostArray.toNumbers(expected as HostArray.HostArray)).not.toEqual(
      HostArray.toNumbers(values[0] as HostArray.HostArray)
    )
    for (const donated of [new Set<number>(), new Set([0])]) {
      const [actual] = await runProgram(program, values, sizes, donated)
      expect(actual?.data).toEqual(expected?.data)
      const names = Program.steps(program, sizes, donated).map((s) => program.kernels[s.kernel]?.name)
      expect(names).toEqual(donated.size > 0 ? ["update"] : ["map", "update"])
    }
  }
)
