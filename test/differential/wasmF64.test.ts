import { Effect, Result } from "effect"
import { describe, expect, test } from "vitest"
import { Backend } from "../../backends/Backend.ts"
import * as Reference from "../../backends/reference/Reference.ts"
import type { Graph } from "../../ir/Graph.ts"
import * as HostArray from "../../ir/HostArray.ts"
import type { MemoryPlan } from "../../ir/MemoryPlan.ts"
import * as Print from "../../ir/Print.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { trace } from "../../src/trace.ts"
import * as Wasm from "../../src/Wasm.ts"
import * as arrays from "../support/arrays.ts"
import { graphOf } from "../support/evaluate.ts"
import { all, lengths as attentionLengths, cases } from "../support/flashCases.ts"
import { causal, flashText } from "../support/flashText.ts"
import { agree, compiled } from "../support/onWasm.ts"
import { blocks, movement, unary } from "../support/opPrograms.ts"
import { isCoarse } from "../support/programs/Axes.ts"
import { inputs } from "../support/programs/arguments.ts"
import { runs, traced } from "../support/programs/judge.ts"
import { draw } from "../support/programs/Program.ts"
import { randomGraph } from "../support/randomGraph.ts"
import { expectOutputs } from "../support/tolerance.ts"

type Lengths = ReadonlyArray<{ readonly [name: string]: number }>

/** A program in which every float is a double. */
const doubled = (text: string): string => text.replaceAll(/\b(f32|f16|bf16)\b/g, "f64")

/** What the reference says, with vectors and without, and the same bits of both. */
const both = async (program: string, lengths: Lengths): Promise<void> => {
  await agree(program, lengths, { threads: 1 })
  const { graph, run: scalar } = await compiled(program, { simd: false, threads: 1 })
  const { run: vectors } = await compiled(program, { relaxed: false, threads: 1 })
  for (const [n, sizes] of lengths.entries()) {
    const from = arrays.random(3 + n)
    const inputs = graph.inputs.map((i) =>
      arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
    )
    expect(await scalar(inputs, sizes)).toEqual(await vectors(inputs, sizes))
  }
}

const lengths = [
  { R: 1, C: 1 },
  { R: 5, C: 16 },
  { R: 40, C: 21 },
  { R: 0, C: 3 },
  { R: 2, C: 0 }
]

describe("elements", () => {
  test.each(unary)("%s", (op) =>
    both(`%x: f64[R, C] = input {name = "x"}\n%y: f64[R, C] = ${op} %x\nreturn %y`, lengths)
  )
  test.each(["log", "sqrt", "rsqrt"])("%s of magnitudes", (op) =>
    both(
      `%x: f64[R, C] = input {name = "x"}\n%a: f64[R, C] = abs %x\n%y: f64[R, C] = ${op} %a\nreturn %y`,
      lengths
    )
  )
  test.each(["add", "sub", "mul", "div", "floor_div", "mod", "min", "max"])("%s", (op) =>
    both(
      `%x: f64[R, C] = input {name = "x"}\n%w: f64[C] = input {name = "w"}\n%y: f64[R, C] = ${op} %x, %w\nreturn %y`,
      lengths
    )
  )
  test("pow", () =>
    both(
      `%x: f64[R, C] = input {name = "x"}\n%w: f64[C] = input {name = "w"}\n%a: f64[R, C] = abs %x\n%y: f64[R, C] = pow %a, %w\nreturn %y`,
      lengths
    ))
  test.each(["eq", "ne", "lt", "le", "gt", "ge"])("%s, and a choice", (op) =>
    both(
      `%x: f64[R, C] = input {name = "x"}\n%w: f64[C] = input {name = "w"}\n%c: bool[R, C] = ${op} %x, %w\n%y: f64[R, C] = select %c, %x, %w\nreturn "c": %c, "y": %y`,
      lengths
    )
  )
  test.each(["f32", "f16", "bf16", "i32", "u32", "bool"])("to and from %s", (dtype) =>
    both(
      `%x: ${dtype}[R, C] = input {name = "x"}\n%d: f64[R, C] = cast %x\n%w: f64[R, C] = input {name = "w"}\n%s: f64[R, C] = mul %d, %w\n%y: ${dtype}[R, C] = cast %s\nreturn "d": %d, "y": %y`,
      lengths
    )
  )
})

describe("rows", () => {
  test.each(
    ["softmax", "logsumexp", "layer_norm", "rms_norm", "argmax", "cumsum"].flatMap((op) =>
      [0, 1].map((axis) => [op, axis] as const)
    )
  )("%s, axis %i", (op, axis) => {
    const kept = axis === 0 ? "C" : "R"
    const type = op === "argmax" ? `i32[${kept}]` : op === "logsumexp" ? `f64[${kept}]` : "f64[R, C]"
    const attrs = op.endsWith("norm") ? `axis = ${axis}, epsilon = 0.001` : `axis = ${axis}`
    const sizes = op === "argmax" ? lengths.filter((l) => l.C > 0 && l.R > 0) : lengths
    return both(`%x: f64[R, C] = input {name = "x"}\n%y: ${type} = ${op} %x {${attrs}}\nreturn %y`, sizes)
  })
  test.each(["sum", "max", "min", "prod"])("reduce_%s", (op) =>
    both(
      `%x: f64[R, C, 3] = input {name = "x"}\n${[[0], [1], [2], [0, 2], [1, 2], [0, 1, 2]].map((axes, n) => `%y${n}: f64[${["R", "C", "3"].filter((_, a) => !axes.includes(a)).join(", ")}] = reduce_${op} %x {axes = [${axes.join(", ")}]}`).join("\n")}\nreturn ${[0, 1, 2, 3, 4, 5].map((n) => `"y${n}": %y${n}`).join(", ")}`,
      lengths
    )
  )
})

describe("matrix products", () => {
  test.each([
    ["R, K", "K, 45", "lhsContract = [1], rhsContract = [0]"],
    ["R, K", "45, K", "lhsContract = [1], rhsContract = [1]"],
    ["K, R", "45, K", "lhsContract = [0], rhsContract = [1]"]
  ])("[%s] and [%s]", (a, b, contract) =>
    both(
      `%a: f64[${a}] = input {name = "a"}\n%b: f64[${b}] = input {name = "b"}\n%c: f64[R, 45] = dot %a, %b {lhsBatch = [], rhsBatch = [], ${contract}}\nreturn %c`,
      [1, 2, 5, 61, 0].flatMap((R) => [9, 1, 0].map((K) => ({ R, K })))
    )
  )
})

test.each(Array.from({ length: 30 }, (_, n) => n + 1))("random program %i", (seed) =>
  both(doubled(Print.graph(randomGraph(seed))), [
    { T: 5, S: 3 },
    { T: 1, S: 7 },
    { T: 0, S: 4 },
    { T: 3, S: 0 },
    { T: 18, S: 37 }
  ])
)

describe("attention", () => {
  test.each(Object.entries(cases))("%s", (_, attention) =>
    both(doubled(flashText(attention)), attentionLengths)
  )
  test("a fill that only doubles hold", () =>
    both(doubled(flashText(all({ ...causal, fill: "-1e300" }))), attentionLengths))
  test("logits that are infinite", () =>
    agree(doubled(flashText(all({}))), attentionLengths, { data: "holes" }))
  test.each([Number.NaN, Infinity, -Infinity])("a value of %f stays with the rows that see it", (x) => {
    const from = arrays.random(4)
    const [q, k, v] = [0, 1, 2].map(() => arrays.array(from, "f64", [1, 2, 7, 8]))
    const values = HostArray.toNumbers(v as HostArray.HostArray)
    const open = values.map((y, at) => (Math.floor(at / 8) % 7 === 4 ? x : y))
    const inputs = [
      q,
      k,
      HostArray.fromNumbers("f64", [1, 2, 7, 8], open)
    ] as ReadonlyArray<HostArray.HostArray>
    const sizes = [{ T: 7, S: 7 }]
    return Promise.all([
      agree(doubled(flashText(causal)), sizes, { inputs }),
      agree(doubled(flashText({ ...causal, normaliser: "none" })), sizes, { inputs })
    ]).then(() => {})
  })
})

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

/** The kernels of a graph, as it is compiled, against what the reference makes of it at some lengths; how many results held no NaN. */
const fused = (
  graph: Graph,
  calls: ReadonlyArray<ReadonlyArray<HostArray.HostArray>>
): Effect.Effect<number, unknown, Backend> =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const planned = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits: backend.limits }))
    const { schedules, memory } = planned
    const f = yield* backend.compile({ graph: planned.graph, schedules, memory: memory as MemoryPlan })
    let compared = 0
    for (const given of calls) {
      const sizes = Reference.bind(graph, given)
      const expected = Reference.evaluate(graph, given, sizes, { precision: "f64" })
      // Fusion may refine NaN.
      if (expected.some((x) => HostArray.toNumbers(x).some(Number.isNaN))) continue
      const actual = yield* f.call(given, sizes, { donated: new Set() })
      expectOutputs(graph, sizes, actual, expected, { reassociated: true, exponent: 16 })
      compared++
    }
    return compared
  }) as Effect.Effect<number, unknown, Backend>

test("attention drawn along the axes of spelling, fused", async () => {
  const all = Effect.gen(function* () {
    let compared = 0
    for (let seed = 1; seed <= 80; seed++) {
      const p = draw(seed)
      // Numbers as large as a fill that is added leave their roundoff in the scores.
      if (isCoarse(p.choices)) continue
      const graph = graphOf(doubled(Print.graph(traced(p))))
      const calls = runs(p).map((lengths) => {
        const named = inputs(p, lengths)
        return graph.inputs.map(({ attrs: { name }, type: { dtype } }) => {
          const own = named[name] as HostArray.HostArray
          return HostArray.fromNumbers(dtype, own.shape, HostArray.toNumbers(own))
        })
      })
      compared += yield* fused(graph, calls)
    }
    return compared
  })
  expect(await Effect.runPromise(Effect.provide(all, Wasm.layer))).toBeGreaterThan(80)
})

describe("programs without attention, fused", () => {
  const sizes = [
    { B: 2, T: 7 },
    { B: 1, T: 13 },
    { B: 3, T: 1 },
    { B: 1, T: 0 },
    { B: 5, T: 12 }
  ]
  const programs = [
    ...Object.entries(blocks),
    ...[1, 2, 3, 4, 5, 6].map((seed) => [`moved, seed ${seed}`, movement("f64", seed)] as const)
  ]
  test.each(programs)("%s", async (_, { build, signature }) => {
    const { graph } = Result.getOrThrow(trace(build, signature))
    const wide = graphOf(doubled(Print.graph(graph)))
    const calls = sizes.map((lengths, n) => {
      const from = arrays.random(n + 1)
      return wide.inputs.map(({ type }) =>
        arrays.array(from, type.dtype, Shape.evaluate(type.shape, lengths))
      )
    })
    const compared = await Effect.runPromise(Effect.provide(fused(wide, calls), Wasm.layer))
    expect(compared).toBeGreaterThan(2)
  })
})
