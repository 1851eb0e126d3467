import { describe, expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import type { Graph } from "../../../ir/Graph.ts"
import * as Limits from "../../../ir/Limits.ts"
import type { Node } from "../../../ir/Node.ts"
import type { Schedule } from "../../../ir/Schedule.ts"
import { agree } from "../../support/agree.ts"
import { graphOf } from "../../support/evaluate.ts"
import { input } from "../../support/irText.ts"
import { planOf } from "../../support/plans.ts"
import { limitsOf } from "../../support/runProgram.ts"

const ops = {
  softmax: { attrs: "{axis = 1}", keeps: true },
  logsumexp: { attrs: "{axis = 1}", keeps: false },
  layer_norm: { attrs: "{axis = 1, epsilon = 0.001}", keeps: true },
  rms_norm: { attrs: "{axis = 1, epsilon = 0.001}", keeps: true },
  reduce_max: { attrs: "{axes = [1]}", keeps: false },
  reduce_sum: { attrs: "{axes = [1]}", keeps: false }
} as const

const lengths = [1, 2, 31, 32, 33, 64, 130, 512, 1000]

describe("rows by any number of threads", () => {
  test.each(Object.entries(ops))(
    "%s at odd and even lengths, known and not",
    async (op, { attrs, keeps }) => {
      const most = (await limitsOf("gpu")).maxComputeInvocationsPerWorkgroup
      const powers = Array.from({ length: Math.floor(Math.log2(most)) + 1 }, (_, n) => 2 ** n)
      let n = 0
      for (const threads of powers) {
        for (const dtype of ["f32", "f16"]) {
          const S = lengths[n++ % lengths.length] as number
          const size = n % 3 === 0 ? "S" : String(S)
          const text = `${input(`${dtype}[T, ${size}]`)}
%1: ${dtype}[T${keeps ? `, ${size}` : ""}] = ${op} %x ${attrs}\nreturn %1`
          await agree(
            text,
            { T: 3, S },
            {
              kind: n % 2 === 0 ? "cpu" : "gpu",
              schedules: (graph: Graph) =>
                new Map<Node, Schedule>([[graph.outputs[0]?.node as Node, { kind: "rows", threads }]])
            }
          )
        }
      }
    }
  )
})

test("threads that no workgroup has are refused before anything is compiled", () => {
  const graph = graphOf(`${input("f32[T, S]")}\n%1: f32[T, S] = softmax %x {axis = 1}\nreturn %1`)
  const lowered = (threads: number, kind: "rows" | "elementwise" = "rows"): unknown => {
    const schedule: Schedule = { kind, threads }
    return lower(planOf(graph, new Map([[graph.outputs[0]?.node as Node, schedule]])), Limits.portable)
  }
  const refused = (message: string): unknown =>
    expect.objectContaining({ _tag: "UnsupportedByDevice", message })
  expect(() => lowered(48)).toThrow(
    refused("rows: the schedule does not fit: 48 threads are no power of two")
  )
  expect(() => lowered(0.5)).toThrow(
    refused("rows: the schedule does not fit: 0.5 threads are no power of two")
  )
  expect(() => lowered(512, "elementwise")).toThrow(
    refused("elementwise: the schedule does not fit: 512 threads exceed 256")
  )
})
