import { Result } from "effect"
import { expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import { statsOf } from "../../../backends/webgpu/stats.ts"
import { flashPartners } from "../../../ir/flashPartners.ts"
import * as Graph from "../../../ir/Graph.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as Node from "../../../ir/Node.ts"
import * as Print from "../../../ir/Print.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  causal,
  flashText,
  small,
  smallDecode,
  smallDecodeQuads,
  smallStaged,
  window
} from "../../support/flashText.ts"
import { limitsOf, runProgram, validate, variants } from "../../support/runProgram.ts"
import { expectOutputs } from "../../support/tolerance.ts"

/** Several outputs of one attention, computed by one kernel. */

const pipeline = Result.getOrThrow(
  Pipeline.parse("fuse-elementwise,analyse-mask,choose-schedule,plan-memory")
)

const planned = (text: string, limits: Limits.Limits, schedule?: Flash) => {
  const { graph, schedules, memory } = Result.getOrThrow(Pipeline.run(pipeline, graphOf(text), { limits }))
  if (memory === undefined || schedules === undefined) throw new Error("nothing was planned")
  const own =
    schedule === undefined ? schedules : new Map([...schedules.keys()].map((n) => [n, schedule] as const))
  return { graph, schedules: own, memory }
}

const schedules = { prefill: small, staged: smallStaged, decode: smallDecode, neighbours: smallDecodeQuads }

/** Half of the keys, none for row 0. */
const sparse: ReadonlyArray<string> = [
  "%two: i32[] = constant {values = [2]}",
  "%half: i32[] = floor_div %i, %two",
  "%seen: bool[] = lt %j, %half"
]

const programs: { readonly [name: string]: Attention } = {
  "result and log-sum-exp": { ...causal, outputs: ["result", "lse"] },
  "all three, rows without keys, a sink": {
    mask: sparse,
    sink: ["%z: f32[] = constant {values = [0.5]}"],
    outputs: ["max", "result", "lse"],
    head: [6, 10]
  },
  "maximum and log-sum-exp, a finite fill, in 16 bits": {
    ...window(3),
    fill: "-3",
    dtype: "bf16",
    outputs: ["lse", "max"]
  },
  "result and maximum of several logits": {
    mask: sparse,
    more: [[2, 1, 3]],
    score: ["%sum: f32[] = add %logit, %logit1"],
    outputs: ["result", "max"]
  }
}

const text = (attention: Attention): string =>
  flashText({ heads: [4, 2], sizes: [2, "T", "S"], ...attention })

test.each(
  Object.keys(programs).flatMap((name) => Object.keys(schedules).map((kind) => [name, kind] as const))
)("%s: %s", async (name, kind) => {
  const schedule = schedules[kind as keyof typeof schedules]
  const graph = graphOf(text(programs[name] as Attention))
  const limits = await limitsOf("cpu")
  const plan = planned(text(programs[name] as Attention), limits, schedule)
  const program = lower(plan, limits)
  const T = kind === "decode" ? 3 : 5
  for (const sizes of [
    { T, S: 11 },
    { T: 1, S: 1 },
    { T, S: 0 },
    { T: 0, S: 3 }
  ]) {
    const from = arrays.random(3)
    const inputs = graph.inputs.map((i) =>
      arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
    )
    const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
    const dispatches = sizes.T === 0 ? 0 : kind === "decode" && sizes.S > 4 ? 2 : 1
    expect(Program.steps(program, sizes)).toHaveLength(dispatches)
    expectOutputs(graph, sizes, await runProgram(program, inputs, sizes), expected, { exponent: 8 })
  }
})

test.each(Object.keys(schedules))("scores that are no numbers: %s", async (kind) => {
  const graph = graphOf(flashText({ sizes: [1, 2, 6], heads: [1, 1], outputs: ["result", "lse", "max"] }))
  const limits = await limitsOf("cpu")
  const plan = planned(Print.graph(graph), limits, schedules[kind as keyof typeof schedules])
  const program = lower(plan, limits)
  expect(program.kernels.filter((k) => k.name.includes("result_lse_max")).length).toBeGreaterThan(0)
  for (const key of [NaN, Infinity, -Infinity]) {
    const [q, k] = [new Float64Array(16).fill(1), new Float64Array(48).fill(1)]
    k[8 * 4] = key
    const inputs = [
      HostArray.fromNumbers("f32", [1, 1, 2, 8], q),
      HostArray.fromNumbers("f32", [1, 1, 6, 8], k),
      HostArray.fromNumbers(
        "f32",
        [1, 1, 6, 8],
        k.map((_, i) => i)
      )
    ]
    const expected = Reference.evaluate(graph, inputs, {}, { precision: "f64" })
    expectOutputs(graph, {}, await runProgram(program, inputs, {}), expected, { exponent: 8 })
  }
})

test("one dispatch reads K and V once", () => {
  const bytesOf = (outputs: NonNullable<Attention["outputs"]>) => {
    const plan = planned(text({ ...causal, outputs }), Limits.portable, small)
    return statsOf(plan, lower(plan, Limits.portable), Limits.portable, { T: 8, S: 8 })
  }
  const [result, lse, both] = [bytesOf(["result"]), bytesOf(["lse"]), bytesOf(["lse", "result"])]
  expect(both.dispatches).toBe(1)
  expect(both.keyValueBytesRead).toBe(result.keyValueBytesRead)
  expect(lse.keyValueBytesRead).toBeLessThan(result.keyValueBytesRead)
})

const following = (line: string): string =>
  text({ outputs: ["result", "lse"], captures: { gate: "f32[2, 4, T]" } }).replace(
    /return "result".*/,
    `%after: f32[2, 4, T] = ${line}\nreturn "result": %result, "after": %after`
  )

test("what follows an output joins the kernel, unless that would part it from the others", () => {
  const kernels = (line: string): ReadonlyArray<string | undefined> => {
    const program = lower(planned(following(line), Limits.portable, small), Limits.portable)
    return program.steps.map((s) => program.kernels[s.kernel]?.name)
  }
  expect(kernels("mul %lse, %gate")).toEqual(["flash_prefill_result_lse"])
  // A value made of the result is there only after it.
  const late = "reduce_sum %result {axes = [3]}\n%later: f32[2, 4, T] = mul %lse, %after"
  const program = lower(
    planned(
      following(late).replace(`"after": %after`, `"after": %after, "later": %later`),
      Limits.portable,
      small
    ),
    Limits.portable
  )
  expect(program.steps.map((s) => program.kernels[s.kernel]?.name)).toEqual([
    "flash_prefill_result_lse",
    "reduce_sum",
    "map"
  ])
})

test("kernels that read what comes later are no partners", () => {
  const body = (outputs: string): Graph.Graph =>
    graphOf(following("mul %lse, %gate").replace(/return "result".*/, outputs))
  const input = (name: string, shape: string) =>
    graphOf(`%${name}: ${shape} = input {name = "${name}"}\nreturn %${name}`).inputs[0]
  const [q, k, v, gate] = [
    input("q", "f32[2, 4, T, 8]"),
    input("k", "f32[2, 2, S, 8]"),
    input("v", "f32[2, 2, S, 8]"),
    input("gate", "f32[2, 4, T]")
  ].map((n) => n as Node.Node) as [Node.Node, Node.Node, Node.Node, Node.Node]
  const result = Node.make("fused", [q, k, v, gate], { body: body("return %result") }) as Node.Node
  const partners = (factor: Node.Node): number => {
    const lse = Node.make("fused", [q, k, v, factor], { body: body("return %after") }) as Node.Node
    return flashPartners(
      Graph.make([
        { name: "result", node: result },
        { name: "lse", node: lse }
      ])
    ).size
  }
  expect(partners(gate)).toBe(1)
  expect(partners(Node.make("reduce_sum", [result], { axes: [3] }) as Node.Node)).toBe(0)
})

test("an output that is read late is not overwritten in between", async () => {
  const steps = [..."abcd"].map(
    (name, n, all) =>
      `%${name}: f32[2, 4, T, 8] = cumsum %${n === 0 ? "result" : all[n - 1]} {axis = ${2 + (n % 2)}}`
  )
  const late = `${steps.join("\n")}
%after: f32[2, 4, T] = reduce_sum %d {axes = [3]}
%late: f32[2, 4, T] = add %after, %lse
return "late": %late`
  const program = text({ outputs: ["result", "lse"] }).replace(/return "result".*/, late)
  const graph = graphOf(program)
  const limits = await limitsOf("cpu")
  const made = lower(planned(program, limits, small), limits)
  expect(made.kernels.map((k) => k.name)).toContain("flash_prefill_result_lse")
  const sizes = { T: 5, S: 7 }
  const from = arrays.random(6)
  const inputs = graph.inputs.map((i) =>
    arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
  )
  const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
  expectOutputs(graph, sizes, await runProgram(made, inputs, sizes), expected, { exponent: 8 })
})

test("attention over other operands stays apart", () => {
  const two = text({ outputs: ["result", "lse"] }).replace(
    /%lse: (.*) flash_attention %q, %k, %v/,
    "%lse: $1 flash_attention %q, %v, %v"
  )
  const plan = planned(two, Limits.portable, small)
  expect(statsOf(plan, lower(plan, Limits.portable), Limits.portable, { T: 8, S: 8 }).dispatches).toBe(2)
})

test("weights averaged over heads next to the result: two kernels, and no scores in memory", async () => {
  const graph = graphOf(`graph {
%q: f32[B, 4, T, 8] = input {name = "q"}
%k: f32[B, 2, S, 8] = input {name = "k"}
%v: f32[B, 4, S, 8] = input {name = "v"}
%k5: f32[B, 2, 1, S, 8] = reshape %k
%k6: f32[B, 2, 2, S, 8] = broadcast %k5
%keys: f32[B, 4, S, 8] = reshape %k6
%scores: f32[B, 4, T, S] = dot %q, %keys {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [3]}
%j: i32[S] = iota
%t: i32[T] = iota
%i: i32[T, 1] = reshape %t
%seen: bool[T, S] = lt %j, %i
%nothing: f32[] = constant {values = [-inf]}
%masked: f32[B, 4, T, S] = select %seen, %scores, %nothing
%w: f32[B, 4, T, S] = softmax %masked {axis = 3}
%result: f32[B, 4, T, 8] = dot %w, %v {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [2]}
%sum: f32[B, T, S] = reduce_sum %w {axes = [1]}
%quarter: f32[] = constant {values = [0.25]}
%mean: f32[B, T, S] = mul %sum, %quarter
return "result": %result, "mean": %mean
}`)
  const limits = await limitsOf("cpu")
  const whole = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))
  const made = Result.getOrThrow(Pipeline.run(whole, graph, { limits }))
  if (made.memory === undefined || made.schedules === undefined) throw new Error("nothing was planned")
  const plan = { graph: made.graph, schedules: made.schedules, memory: made.memory }
  const program = lower(plan, limits)
  const sizes = { B: 2, T: 5, S: 9 }
  const from = arrays.random(4)
  const inputs = graph.inputs.map((i) =>
    arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
  )
  const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
  expectOutputs(graph, sizes, await runProgram(program, inputs, sizes), expected, { exponent: 8 })
  const large = statsOf(plan, program, limits, { B: 2, T: 512, S: 512 })
  expect(large.dispatches).toBe(2)
  // A statistic or two of each row.
  expect(large.scratchBytes).toBeLessThanOrEqual(2 * (2 * 4 * 512 * 4))
})

test.each(variants)("a compiler front end accepts them for %s", async (_, limits) => {
  for (const attention of Object.values(programs)) {
    for (const dtype of ["f32", "f16", "bf16"]) {
      const program = lower(planned(text({ ...attention, dtype }), limits), limits)
      await validate(program)
    }
  }
})
