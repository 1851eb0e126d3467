import { Result } from "effect"
import { describe, expect, test } from "vitest"
import { encode } from "../../../backends/wasm/assembler/encode.ts"
import {
  f32,
  get,
  i32,
  type Local,
  op,
  type Statement,
  set
} from "../../../backends/wasm/assembler/Instruction.ts"
import { sameCode } from "../../../backends/wasm/assembler/sameCode.ts"
import { limits } from "../../../backends/wasm/limits.ts"
import { lower } from "../../../backends/wasm/lower.ts"
import * as Program from "../../../backends/wasm/Program.ts"
import { intermediates } from "../../../backends/wasm/runtime/layout.ts"
import * as Work from "../../../backends/wasm/work.ts"
import { transformer } from "../../../bench/cases/transformer.ts"
import type * as Graph from "../../../ir/Graph.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import { graphOf } from "../../support/evaluate.ts"
import { causal, flashText } from "../../support/flashText.ts"

const lowered = (given: Graph.Graph, passes = Pipeline.defaultText): Program.Program => {
  const pipeline = Result.getOrThrow(Pipeline.parse(passes))
  const { graph, schedules, memory } = Result.getOrThrow(Pipeline.run(pipeline, given, { limits }))
  if (memory === undefined) throw new Error("there is no plan")
  return lower({ graph, schedules, memory }, { simd: true, relaxed: true })
}

const names = ({ kernels }: Program.Program): ReadonlyArray<string> => kernels.map(({ name }) => name)

describe("kernels of a program", () => {
  test("layers that compute the same share them", () => {
    const [two, four] = [lowered(transformer(2)), lowered(transformer(4))]
    expect(names(four)).toEqual(names(two))
    expect(encode(four.module)).toEqual(encode(two.module))
    expect(four.steps.length).toBeGreaterThan(two.steps.length)
  })

  test("the others are left out where lengths are numbers", () => {
    const ofHeads = (T: number | string) => {
      const attention = { ...causal, heads: [8, 8], head: [64, 64], sizes: [1, T, T] } as const
      return lowered(
        graphOf(flashText(attention)),
        "fuse-elementwise,analyse-mask,choose-schedule,plan-memory"
      )
    }
    expect(names(ofHeads("T"))).toEqual(["decode", "combine", "pack", "flash"])
    expect(names(ofHeads(512))).toEqual(["pack", "flash"])
    expect(names(ofHeads(4))).toEqual(["decode", "combine"])
    // What a first call has to write and the engine to read.
    expect(encode(ofHeads("T").module).length).toBeLessThan(23_000)
    expect(encode(ofHeads(512).module).length).toBeLessThan(11_000)
  })
})

test("what doubles take counts as three times as much, so that threads are told of it", () => {
  const attention = { ...causal, heads: [4, 4], head: [32, 32], sizes: [1, 1, "S"] } as const
  const text = flashText(attention)
  const workOf = (own: string): number => {
    const steps = Program.steps(lowered(graphOf(own), "fuse-elementwise,choose-schedule,plan-memory"), {
      S: 500
    })
    return Math.max(...steps.map(({ work }) => Work.evaluate(work, { S: 500 })))
  }
  expect(workOf(text.replaceAll("f32", "f64"))).toBe(3 * workOf(text))
})

test("a product has pieces enough for threads, however few rows there are", () => {
  const text = `%a: f32[M, 64] = input {name = "a"}
%b: f32[64, 1024] = input {name = "b"}
%c: f32[M, 1024] = dot %a, %b {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
return %c`
  const product = lowered(graphOf(text)).kernels.find(({ name }) => name === "matmul") as Program.Kernel
  expect([0, 1, 60, 61].map((M) => Program.items(product.items, { M }))).toEqual([0, 16, 16, 32])
})

test("parts that few rows leave take no memory of calls with many", () => {
  const text = `%a: f32[M, 512] = input {name = "a"}
%b: f32[512, 16384] = input {name = "b"}
%c: f32[M, 16384] = dot %a, %b {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
return %c`
  const program = lowered(graphOf(text))
  const memory = (M: number): number => intermediates(program, Program.steps(program, { M }), { M }).bytes
  // Both sides packed.
  const bytes = (512 * 16384 + 2048 * 512) * 4
  expect(memory(2048)).toBeLessThan(1.01 * bytes)
})

describe("equal code", () => {
  const x: Local<"i32"> = { type: "i32", name: "x" }
  const func = (...body: ReadonlyArray<Statement>) => ({ name: "f", exported: true, params: [x], body })
  const f: Local<"f32"> = { type: "f32", name: "f" }
  const loop = (end: number): Statement => ({
    _tag: "loop",
    label: { name: "l" },
    body: [
      set(x, op("i32.add", get(x), i32(1))),
      { _tag: "branch", label: { name: "l" }, condition: op("i32.lt_s", get(x), i32(end)) }
    ]
  })
  const choice = (then: Statement, otherwise: Statement): Statement => ({
    _tag: "if",
    condition: get(x),
    body: [then],
    otherwise: [otherwise]
  })

  test("is equal all the way down", () => {
    expect(sameCode(func(loop(3)), func(loop(3)))).toBe(true)
    expect(sameCode(func(choice(loop(3), loop(4))), func(choice(loop(3), loop(4))))).toBe(true)
  })

  test.each<readonly [string, Statement, Statement]>([
    ["a number", loop(3), loop(4)],
    ["the sign of a zero", set(f, f32(0)), set(f, f32(-0))],
    ["an instruction", set(x, op("i32.add", get(x), i32(1))), set(x, op("i32.sub", get(x), i32(1)))],
    ["a local", set(x, i32(1)), set({ ...x, name: "y" }, i32(1))],
    ["a branch of an if", choice(loop(3), loop(4)), choice(loop(3), loop(5))],
    ["a kind of statement", loop(3), set(x, i32(3))]
  ])("differs in %s", (_, a, b) => {
    expect(sameCode(func(a), func(b))).toBe(false)
    expect(sameCode(func(a), func(a))).toBe(true)
  })
})
