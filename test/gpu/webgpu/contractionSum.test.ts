import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import type * as Program from "../../../backends/webgpu/Program.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as arrays from "../../support/arrays.ts"
import { contractionSums as programs } from "../../support/contractionSums.ts"
import { graphOf } from "../../support/evaluate.ts"
import { limitsOf, runProgram, validate, variants } from "../../support/runProgram.ts"
import { expectOutputs } from "../../support/tolerance.ts"

/** Sums over heads of a function of scores: one kernel, and no buffer of scores. */

const pipeline = Result.getOrThrow(Pipeline.parse("fuse-elementwise,choose-schedule,plan-memory"))

const lowered = (text: string, limits: Limits.Limits): Program.Program => {
  const { graph, schedules, memory } = Result.getOrThrow(Pipeline.run(pipeline, graphOf(text), { limits }))
  if (memory === undefined || schedules === undefined) throw new Error("nothing was planned")
  return lower({ graph, schedules, memory }, limits)
}

describe.each(Object.entries(programs))("%s", (_, text) => {
  test.each(["cpu", "gpu"] as const)("is one kernel without a buffer of scores, for a %s", async (kind) => {
    const graph = graphOf(text)
    const program = lowered(text, await limitsOf(kind))
    expect(program.kernels.map((k) => k.name)).toEqual(["matmul_sum"])
    expect(program.slots).toEqual([])
    for (const sizes of [
      { B: 2, T: 5, S: 9 },
      { B: 1, T: 8, S: 4 },
      { B: 1, T: 1, S: 1 },
      { B: 2, T: 3, S: 0 },
      { B: 0, T: 3, S: 2 }
    ]) {
      const from = arrays.random(5)
      const given = graph.inputs.map((i) =>
        arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
      )
      const expected = Reference.evaluate(graph, given, sizes, { precision: "f64" })
      expectOutputs(graph, sizes, await runProgram(program, given, sizes), expected, { exponent: 8 })
    }
  })

  test.each(variants)("passes a compiler front end, for %s", async (_, limits) => {
    await validate(lowered(text, limits))
  })
})

const kernelsOf = (text: string): ReadonlyArray<string> =>
  lowered(text, Limits.portable).kernels.map((k) => k.name)

test("sums of rows or columns, and scores that somebody else reads, stay two kernels", () => {
  const plain = programs["weights averaged over heads"] as string
  const over = (axis: number, type: string): string =>
    plain.replace(
      /%sum: .*return.*/s,
      `%sum: f32[${type}] = reduce_sum %w {axes = [${axis}]}\nreturn "sum": %sum
}`
    )
  expect(kernelsOf(over(3, "B, 4, T"))).toEqual(["matmul_vector", "matmul", "matmul", "reduce_sum"])
  expect(kernelsOf(over(2, "B, 4, S"))).toEqual(["matmul_vector", "matmul", "matmul", "reduce_sum"])
  expect(kernelsOf(over(1, "B, T, S"))).toEqual(["matmul_sum"])
  const joined = plain.replace(
    /%sum: .*return.*/s,
    `%flat: f32[B, 4 * T, S] = reshape %w
%sum: f32[4 * T, S] = reduce_sum %flat {axes = [0]}
return "sum": %sum
}`
  )
  expect(kernelsOf(joined)).toEqual(["matmul_vector", "matmul", "matmul", "reduce_sum"])
  expect(kernelsOf(plain.replace(`"mean": %mean`, `"mean": %mean, "w": %w`))).toEqual([
    "matmul_vector",
    "matmul",
    "matmul",
    "reduce_sum"
  ])
})
