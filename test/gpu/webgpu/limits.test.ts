import { expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import * as Size from "../../../backends/webgpu/Size.ts"
import { portable } from "../../../ir/Limits.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { input } from "../../support/irText.ts"
import { planOf } from "../../support/plans.ts"
import { limitsOf, runProgram } from "../../support/runProgram.ts"

const dot = "{lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}"

test("counts of workgroups past a dimension are folded, and every kernel finds its place", async () => {
  const text = `graph {
    ${input("f32[T, 37]")}
    ${input("bf16[T, 37]", "y")}
    ${input("f32[37, 5]", "w")}
    %0: f32[T, 37] = neg %x
    %1: bf16[T, 37] = neg %y
    %2: f32[T, 37] = softmax %x {axis = 1}
    %3: f32[T, 5] = dot %x, %w ${dot}
    return "a": %0, "b": %1, "c": %2, "d": %3
  }`
  const graph = graphOf(text)
  const sizes = { T: 131 }
  const from = arrays.random(4)
  const inputs = graph.inputs.map((i) =>
    arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
  )
  for (const kind of ["cpu", "gpu"] as const) {
    const limits = await limitsOf(kind)
    const program = lower(planOf(graph), limits)
    const plain = await runProgram(program, inputs, sizes)
    const expected = Reference.evaluate(graph, inputs, sizes)
    expect(plain[0]?.data).toEqual(expected[0]?.data)
    const most = Math.max(...program.kernels.map((k) => Size.evaluate(k.workgroups, sizes)))
    const folded = { ...limits, maxComputeWorkgroupsPerDimension: Math.ceil(Math.sqrt(most)) + 1 }
    expect(Program.dispatchSize(most, folded)[1]).toBeGreaterThan(1)
    expect((await runProgram(program, inputs, sizes, new Set(), folded)).map((a) => a.data)).toEqual(
      plain.map((a) => a.data)
    )
  }
})

test("what the device cannot hold or bind is refused by name before anything runs", () => {
  const program = lower(
    planOf(graphOf(`${input("f32[T, 64]")}\n%1: f32[T, 64] = neg %x\nreturn %1`)),
    portable
  )
  expect(Program.unsupported(program, { T: 1000 }, portable)).toBeUndefined()
  const refused = Program.unsupported(program, { T: 2 ** 20 }, portable)
  expect(refused?.what).toBe(
    'input "x" f32[T, 64] takes 268435456 bytes, the device\'s maxStorageBufferBindingSize is 134217728'
  )
  const constant = () =>
    lower(planOf(graphOf(`${input("f32[1048576, 64]")}\n%1: f32[1048576, 64] = neg %x\nreturn %1`)), portable)
  expect(constant).toThrow("maxStorageBufferBindingSize")
  expect(() =>
    lower(planOf(graphOf(`${input("f64[T]")}\n%1: f64[T] = neg %x\nreturn %1`)), portable)
  ).toThrow("f64")
})

test("a kernel that needs more buffers than the device binds is cut, or refused by name", async () => {
  const names = Array.from({ length: 9 }, (_, i) => `x${i}`)
  const sum = (n: number, last: string) =>
    names.slice(1, n).map((name, i) => `%s${i}: f32[T, 4] = add ${i === 0 ? last : `%s${i - 1}`}, %${name}`)
  const text = (n: number, anchor: boolean) => {
    const inputs = names.slice(0, n).map((name) => input("f32[T, 4]", name))
    const body = [
      ...(anchor ? ["%a: f32[T, 4] = softmax %x0 {axis = 1}"] : []),
      ...sum(n, anchor ? "%a" : "%x0")
    ]
    return [
      "graph {",
      ...inputs,
      `%out: f32[T, 4] = fused ${names
        .slice(0, n)
        .map((name) => `%${name}`)
        .join(", ")} {`,
      "body = {",
      ...inputs,
      ...body,
      `return %s${n - 2}`,
      "}",
      "}",
      "return %out",
      "}"
    ].join("\n")
  }
  expect(lower(planOf(graphOf(text(7, true))), portable).steps.length).toBe(1)
  expect(() => lower(planOf(graphOf(text(9, false))), portable)).toThrow("binds 8 at once")
})
