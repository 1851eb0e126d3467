import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import { Backend } from "../../backends/Backend.ts"
import * as ReferenceBackend from "../../backends/reference/Reference.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Shape from "../../ir/Shape.ts"
import { type CompileOptions, compile } from "../../src/compile.ts"
import * as Wasm from "../../src/Wasm.ts"
import * as arrays from "../support/arrays.ts"
import { cases, missing } from "../support/conformance/load.ts"
import { run as runCase } from "../support/conformance/run.ts"
import { agree } from "../support/onWasm.ts"
import { blocks, movement, type OpProgram } from "../support/opPrograms.ts"
import { planOf } from "../support/plans.ts"
import { signature } from "../support/programs/arguments.ts"
import { build } from "../support/programs/build.ts"
import { call, difference, runs } from "../support/programs/judge.ts"
import { draw, type Program, describe as print } from "../support/programs/Program.ts"
import { randomGraph } from "../support/randomGraph.ts"
import { expectOutputs } from "../support/tolerance.ts"

/** Compiled once and run at several lengths: each time what the float64 oracle makes of the traced graph, and nothing compiled anew. */
const agrees = async (
  program: OpProgram,
  lengths: ReadonlyArray<{ readonly B: number; readonly T: number }>
): Promise<void> => {
  const whole = Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* compile(program.build, program.signature)
    const traced = f.graph("traced")
    const [compiled, alive] = [backend.pipelinesCreated(), backend.buffersAlive()]
    for (const [n, sizes] of lengths.entries()) {
      const from = arrays.random(n + 1)
      const given = traced.inputs.map((i) =>
        arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
      )
      const expected = ReferenceBackend.evaluate(traced, given, sizes, { precision: "f64" })
      const results = yield* f(
        Object.fromEntries(traced.inputs.map((i, at) => [i.attrs.name, given[at]])) as never
      )
      const actual = traced.outputs.map(({ name }) => results[name] as HostArray)
      expectOutputs(traced, sizes, actual, expected, { reassociated: true, exponent: 16 })
    }
    expect(backend.pipelinesCreated()).toBe(compiled)
    expect(backend.buffersAlive()).toBe(alive)
  })
  await Effect.runPromise(Effect.provide(whole, Wasm.layer))
}

test.each([{}, { simd: false }])("powers, sines and cosines of two dtypes in one program, %o", (options) => {
  const ofType = (t: string) => [
    `%a${t}: ${t}[N] = cast %m`,
    `%w${t}: ${t}[N] = cast %y`,
    `%p${t}: ${t}[N] = pow %a${t}, %w${t}`,
    `%s${t}: ${t}[N] = sin %w${t}`,
    `%c${t}: ${t}[N] = cos %w${t}`
  ]
  const types = ["f32", "f64", "f16"]
  const outputs = types.flatMap((t) => ["p", "s", "c"].map((name) => `"${name}${t}": %${name}${t}`))
  const program = [
    `%x: bf16[N] = input {name = "x"}`,
    `%y: bf16[N] = input {name = "y"}`,
    "%m: bf16[N] = abs %x",
    ...types.flatMap(ofType),
    `return ${outputs.join(", ")}`
  ].join("\n")
  return agree(program, [{ N: 21 }, { N: 1 }, { N: 0 }], { ...options, threads: 1 })
})

describe("programs without attention, at any lengths by the same kernels", () => {
  test.each(Object.entries(blocks))("%s", (_, program) =>
    agrees(program, [
      { B: 2, T: 7 },
      { B: 1, T: 13 },
      { B: 3, T: 1 },
      { B: 1, T: 0 },
      { B: 5, T: 12 }
    ])
  )
})

describe("elements that only move", () => {
  const dtypes = ["f32", "f16", "bf16", "i32", "u32", "bool"] as const
  test.each(Array.from({ length: 24 }, (_, i) => [dtypes[i % 6] as (typeof dtypes)[number], i] as const))(
    "%s, seed %i",
    (dtype, seed) =>
      agrees(movement(dtype, seed), [
        { B: 2, T: 5 },
        { B: 3, T: 2 },
        { B: 1, T: 1 },
        { B: 9, T: 12 }
      ])
  )
})

describe("random programs, one kernel for each node", () => {
  const lengths = [
    { T: 5, S: 3 },
    { T: 1, S: 7 },
    { T: 0, S: 4 },
    { T: 3, S: 0 },
    { T: 18, S: 37 }
  ]
  test.each(Array.from({ length: 60 }, (_, i) => i + 1))("seed %i", async (seed) => {
    const graph = randomGraph(seed)
    const run = Effect.gen(function* () {
      const backend = yield* Backend
      const executable = yield* backend.compile(planOf(graph))
      for (const sizes of lengths) {
        const from = arrays.random(seed)
        const inputs = graph.inputs.map((i) =>
          arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
        )
        const expected = ReferenceBackend.evaluate(graph, inputs, sizes, { precision: "f64" })
        const actual = yield* executable.call(inputs, sizes, { donated: new Set() })
        expectOutputs(graph, sizes, actual, expected, { exponent: 8, reassociated: true })
      }
    })
    await Effect.runPromise(Effect.provide(run, Wasm.layer))
  })
})

/** What is wrong with a program at some of its lengths; undefined if nothing is. */
const wrong = (p: Program, options: CompileOptions) =>
  Effect.gen(function* () {
    const f = yield* compile(build(p), signature(p), options)
    const graph = f.graph("traced")
    for (const lengths of runs(p)) {
      const c = call(p, graph, lengths)
      const named: { readonly [name: string]: HostArray } = yield* f(c.inputs)
      const why = difference(
        graph,
        c,
        graph.outputs.map(({ name }) => named[name] as HostArray)
      )
      if (why !== undefined) return `${print(p)}\n${why}`
    }
    return undefined
  })

describe("attention drawn along the axes of spelling, fused and as it was written", () => {
  const [blocks, inBlock] = [16, 25]
  test.each(Array.from({ length: blocks }, (_, n) => n))("block %i", async (n) => {
    const all = Effect.gen(function* () {
      for (let i = n * inBlock + 1; i <= (n + 1) * inBlock; i++) {
        const p = draw(i)
        expect(yield* wrong(p, {})).toBe(undefined)
        if (i % 5 === 0) expect(yield* wrong(p, { pipeline: "canonicalize" })).toBe(undefined)
      }
    })
    await Effect.runPromise(Effect.provide(all, Wasm.layer))
  })
})

describe("published cases", () => {
  const absent = missing()
  if (absent !== undefined) {
    test("give what was published", (context) => context.skip(absent))
    return
  }
  test.each(cases().map((c) => [c.name, c] as const))("%s", async (_, c) => {
    const { failure } = await Effect.runPromise(Effect.provide(runCase(c), Wasm.layer))
    expect(failure).toBeUndefined()
  })
})
