import { Effect } from "effect"
import { describe, expect, test, vi } from "vitest"
import { Backend } from "../../backends/Backend.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Shape from "../../ir/Shape.ts"
import { compile } from "../../src/compile.ts"
import * as Wasm from "../../src/Wasm.ts"
import * as arrays from "../support/arrays.ts"
import { type Attention, causal, flashText, window } from "../support/flashText.ts"
import { agree, compiled } from "../support/onWasm.ts"
import { blocks, movement, type OpProgram } from "../support/opPrograms.ts"
import { signature } from "../support/programs/arguments.ts"
import { build } from "../support/programs/build.ts"
import { call, difference, runs } from "../support/programs/judge.ts"
import { draw, describe as print } from "../support/programs/Program.ts"
import { randomGraph } from "../support/randomGraph.ts"

type Lengths = ReadonlyArray<{ readonly [name: string]: number }>

/** Without vectors: what the reference says, and each bit of what vectors give, for both compute the same in the same order. */
const both = async (program: Parameters<typeof compiled>[0], lengths: Lengths): Promise<void> => {
  await agree(program, lengths, { simd: false, threads: 1 })
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

const all = (a: Attention): Attention => ({ ...a, outputs: ["result", "lse", "max", "sum"] })

describe("attention, prefill and decode", () => {
  const cases: { readonly [name: string]: Attention } = {
    plain: all({}),
    "grouped heads, causal": all({ ...causal, heads: [6, 2] }),
    window: all({ ...window(5), heads: [4, 2] }),
    "odd head sizes": all({ head: [5, 3] }),
    "values of several panels": { ...causal, head: [20, 24] },
    sinks: all({
      heads: [2, 2],
      captures: { sinks: "f32[2]" },
      sink: ["%s: f32[] = load %sinks, %h"],
      ...causal
    }),
    softcap: { score: ["%x: f32[] = tanh %logit"] },
    "stored in f16": { ...causal, dtype: "f16", heads: [4, 2], head: [16, 16] },
    "stored in bf16": { ...causal, dtype: "bf16", heads: [4, 2], head: [8, 8] }
  }
  const lengths = [
    { T: 1, S: 1 },
    { T: 1, S: 300 },
    { T: 3, S: 7 },
    { T: 33, S: 70 },
    { T: 70, S: 200 },
    { T: 0, S: 5 },
    { T: 5, S: 0 }
  ]
  test.each(Object.entries(cases))("%s", (_, attention) => both(flashText(attention), lengths))
})

describe("matrix products", () => {
  const lengths = [1, 2, 5, 7, 61, 0].map((M) => ({ M }))
  test.each(["f32", "f16", "bf16"])("%s", (dtype) =>
    both(
      `%a: ${dtype}[M, 9] = input {name = "a"}
%b: ${dtype}[9, 45] = input {name = "b"}
%c: ${dtype}[M, 45] = dot %a, %b {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
return %c`,
      lengths
    )
  )
})

describe("rows", () => {
  const lengths = [
    { R: 1, C: 1 },
    { R: 5, C: 16 },
    { R: 40, C: 21 },
    { R: 2, C: 0 }
  ]
  test.each(
    ["softmax", "logsumexp", "layer_norm", "rms_norm", "argmax"].flatMap((op) =>
      [0, 1].map((axis) => [op, axis] as const)
    )
  )("%s, axis %i", (op, axis) => {
    const kept = axis === 0 ? "C" : "R"
    const type = op === "argmax" ? `i32[${kept}]` : op === "logsumexp" ? `f32[${kept}]` : "f32[R, C]"
    const attrs = op.endsWith("norm") ? `axis = ${axis}, epsilon = 0.001` : `axis = ${axis}`
    const sizes = op === "argmax" ? lengths.filter((l) => l.C > 0) : lengths
    return both(`%x: f32[R, C] = input {name = "x"}\n%y: ${type} = ${op} %x {${attrs}}\nreturn %y`, sizes)
  })
})

/** As they are compiled: fused, against vectors. */
const fused = async (program: OpProgram, lengths: Lengths): Promise<void> => {
  const results = (options: Wasm.Options) =>
    Effect.gen(function* () {
      const f = yield* compile(program.build, program.signature)
      const traced = f.graph("traced")
      return yield* Effect.forEach(lengths, (sizes, n) => {
        const from = arrays.random(n + 1)
        const given = traced.inputs.map(
          (i) =>
            [i.attrs.name, arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))] as const
        )
        return f(Object.fromEntries(given) as never)
      })
    }).pipe(Effect.provide(Wasm.layerWith({ threads: 1, ...options })), Effect.runPromise)
  expect(await results({ simd: false })).toEqual(await results({ relaxed: false }))
}

describe("programs without attention", () => {
  const lengths = [
    { B: 2, T: 7 },
    { B: 1, T: 13 },
    { B: 3, T: 1 },
    { B: 1, T: 0 }
  ]
  test.each(Object.entries(blocks))("%s", (_, program) => fused(program, lengths))
  test.each(["f32", "f16", "bf16", "i32", "u32", "bool"] as const)("%s that only moves", (dtype) =>
    fused(movement(dtype, 7), lengths)
  )
})

test.each(Array.from({ length: 24 }, (_, n) => n + 1))("random program %i", (seed) =>
  both(randomGraph(seed), [
    { T: 5, S: 3 },
    { T: 1, S: 7 },
    { T: 0, S: 4 },
    { T: 18, S: 37 }
  ])
)

/** Dropout among them. */
test("attention drawn along the axes of spelling", async () => {
  const each = Effect.gen(function* () {
    for (let i = 1; i <= 20; i++) {
      const p = draw(i)
      const f = yield* compile(build(p), signature(p))
      const graph = f.graph("traced")
      for (const lengths of runs(p)) {
        const c = call(p, graph, lengths)
        const named: { readonly [name: string]: HostArray } = yield* f(c.inputs)
        const outputs = graph.outputs.map(({ name }) => named[name] as HostArray)
        expect(difference(graph, c, outputs), print(p)).toBe(undefined)
      }
    }
  })
  await Effect.runPromise(Effect.provide(each, Wasm.layerWith({ simd: false })))
})

test("an engine that refuses vectors is found, and said", async () => {
  const described = (options: Wasm.Options) =>
    Effect.runPromise(
      Effect.map(Backend, ({ description }) => description).pipe(Effect.provide(Wasm.layerWith(options)))
    )
  const forced = await described({ simd: false, threads: 1 })
  expect(forced).toBe("WebAssembly, scalar, one thread")
  const host = globalThis as unknown as { readonly WebAssembly: { readonly validate: () => boolean } }
  const validate = vi.spyOn(host.WebAssembly, "validate").mockReturnValue(false)
  expect(await described({ threads: 1 })).toBe(forced)
  validate.mockRestore()
  expect(await described({ threads: 1 })).not.toBe(forced)
})
