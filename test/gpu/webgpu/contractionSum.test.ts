import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import type * as Program from "../../../backends/webgpu/Program.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { limitsOf, runProgram, validate, variants } from "../../support/runProgram.ts"
import { expectOutputs } from "../../support/tolerance.ts"

/** Sums over heads of a function of scores: one kernel, and no buffer of scores. */

const heads = "{lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [3]}"

const inputs = (dtype: string, keyHeads: number, D: number): string => `
%q: ${dtype}[B, 4, T, ${D}] = input {name = "q"}
%k: ${dtype}[B, ${keyHeads}, S, ${D}] = input {name = "k"}
%lse: f32[B, 4, T] = input {name = "lse"}`

/** exp(scores - lse) of causal attention. */
const weights = `
%j: i32[S] = iota
%t: i32[T] = iota
%i: i32[T, 1] = reshape %t
%seen: bool[T, S] = le %j, %i
%row: f32[B, 4, T, 1] = reshape %lse
%shifted: f32[B, 4, T, S] = sub %scores, %row
%e: f32[B, 4, T, S] = exp %shifted
%zero: f32[] = constant {values = [0]}
%w: f32[B, 4, T, S] = select %seen, %e, %zero`

const mean = `
%sum: f32[B, T, S] = reduce_sum %w {axes = [1]}
%count: f32[] = constant {values = [0.25]}
%mean: f32[B, T, S] = mul %sum, %count`

const programs: { readonly [name: string]: string } = {
  "weights averaged over heads": `graph {${inputs("f32", 4, 8)}
%scores: f32[B, 4, T, S] = dot %q, %k ${heads}${weights}${mean}
return "mean": %mean
}`,
  "heads in groups, an odd head size, in 16 bits": `graph {${inputs("f16", 2, 5)}
%grouped: f16[B, 2, 2, T, 5] = reshape %q
%five: f16[B, 2, 2, T, S] = dot %grouped, %k {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [4], rhsContract = [3]}
%narrow: f16[B, 4, T, S] = reshape %five
%scores: f32[B, 4, T, S] = cast %narrow${weights}${mean}
%back: f16[B, S, T] = transpose %halved {perm = [0, 2, 1]}
return "mean": %back
}`.replace("%back:", "%halved: f16[B, T, S] = cast %mean\n%back:"),
  "over the batch and the heads": `graph {${inputs("f32", 4, 8)}
%scores: f32[B, 4, T, S] = dot %q, %k ${heads}${weights}
%turned: f32[T, B, S, 4] = transpose %w {perm = [2, 0, 3, 1]}
%all: f32[T, S] = reduce_sum %turned {axes = [1, 3]}
return "all": %all
}`,
  "of integers": `graph {
%x: i32[3, T, 4] = input {name = "x"}
%y: i32[3, S, 4] = input {name = "y"}
%products: i32[3, T, S] = dot %x, %y {lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [2]}
%least: i32[] = constant {values = [0]}
%kept: i32[3, T, S] = max %products, %least
%sum: i32[T, S] = reduce_sum %kept {axes = [0]}
return "sum": %sum
}`
}

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
