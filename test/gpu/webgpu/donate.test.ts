import { expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import { execute } from "../../../backends/webgpu/runtime/execute.ts"
import { read } from "../../../backends/webgpu/runtime/read.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import type { Node } from "../../../ir/Node.ts"
import { input } from "../../support/agree.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { sharedSession } from "../../support/runProgram.ts"

const text = (d: string, wrap: boolean): string => {
  const inputs = [input(`${d}[B, C, 3]`, "cache"), input(`${d}[B, T, 3]`, "new"), input("i32[B]", "start")]
  return [
    "graph {",
    ...inputs,
    `%out: ${d}[B, C, 3] = fused %cache, %new, %start {`,
    "body = {",
    ...inputs,
    `%n: ${d}[B, T, 3] = neg %new`,
    `%u: ${d}[B, C, 3] = update_slice %cache, %n, %start {axis = 1, wrap = ${wrap}}`,
    "return %u",
    "}",
    "}",
    "return %out",
    "}"
  ].join("\n")
}

test.each(["f32", "f16"] as const)(
  "an update of a donated %s input is written into its buffer",
  async (d) => {
    for (const wrap of [false, true]) {
      const graph = graphOf(text(d, wrap))
      const node = graph.outputs[0]?.node as Node
      const session = await sharedSession()
      const memory = { slots: [], slotOf: new Map(), inPlace: new Map([[node, 0]]) }
      const program = lower({ graph, schedules: new Map(), memory }, session.limits)
      expect(program.outputs[0]?.donor).toBe(0)
      const pipelines = await Promise.all(program.kernels.map(session.pipeline))
      const loaded = { program, pipelines, constants: [] }
      const from = arrays.random(2)
      const sizes = { B: 3, C: 5, T: 3 }
      const values = [
        arrays.array(from, d, [3, 5, 3]),
        arrays.array(from, d, [3, 3, 3]),
        HostArray.fromNumbers("i32", [3], Float64Array.of(-1, 1, 4))
      ]
      const [expected] = Reference.evaluate(graph, values, sizes)
      const identity = graphOf(
        `${input(`${d}[B, C, 3]`)}\n%1: ${d}[B, C, 3] = neg %x\n%2: ${d}[B, C, 3] = neg %1\nreturn %2`
      )
      const upload = lower(
        { graph: identity, schedules: new Map(), memory: { ...memory, inPlace: new Map() } },
        session.limits
      )
      const uploaded = {
        program: upload,
        pipelines: await Promise.all(upload.kernels.map(session.pipeline)),
        constants: []
      }
      const [cache] = await execute(session, uploaded, [values[0] as HostArray.HostArray], sizes, {
        donated: new Set()
      })
      const buffer = cache?.buffer()
      for (const donated of [new Set<number>(), new Set([0])]) {
        const [result] = await execute(session, loaded, [cache as never, ...values.slice(1)], sizes, {
          donated
        })
        expect(result?.buffer() === buffer).toBe(donated.has(0))
        expect((await read(session, result as never)).data).toEqual(expected?.data)
      }
      expect(Program.steps(program, sizes, new Set([0])).length).toBe(1)
    }
  }
)
