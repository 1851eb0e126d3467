import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import type { Backend } from "../../backends/Backend.ts"
import * as ReferenceBackend from "../../backends/reference/Reference.ts"
import * as Dim from "../../ir/Dim.ts"
import type * as Graph from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Print from "../../ir/Print.ts"
import * as Tolerance from "../../ir/Tolerance.ts"
import type { Compiled } from "../../src/Compiled.ts"
import { type CompileOptions, compile } from "../../src/compile.ts"
import * as Reference from "../../src/Reference.ts"
import * as WebGpu from "../../src/WebGpu.ts"
import { sharedDevice } from "../support/dawn.ts"
import { isViewOfInput, nodesOf } from "../support/fusing.ts"
import { build } from "../support/programs/build.ts"
import * as Programs from "../support/programs.ts"
import { refined } from "../support/refined.ts"
import { checked, expectRoundTrips } from "../support/roundTrips.ts"

type Runnable = Compiled<ReturnType<typeof Programs.signature>, ReturnType<ReturnType<typeof build>>>

const onReference = <A, E>(effect: Effect.Effect<A, E, Backend>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, Reference.layer))

const compiled = (p: Programs.Program, options: CompileOptions = {}) =>
  compile(build(p), Programs.signature(p), options)

interface Call {
  readonly inputs: { readonly [name: string]: HostArray }
  readonly sizes: Dim.Bindings
  readonly expected: ReadonlyArray<HostArray>
}

/** Arguments of some lengths, and what the traced graph makes of them in float64. */
const callOf = (p: Programs.Program, traced: Graph.Graph, lengths: Programs.Sizes): Call => {
  const inputs = Programs.inputs(p, lengths)
  const given = traced.inputs.map((i) => inputs[i.attrs.name] as HostArray)
  const sizes = ReferenceBackend.bind(traced, given)
  return { inputs, sizes, expected: ReferenceBackend.evaluate(traced, given, sizes, { precision: "f64" }) }
}

/** The program's own lengths, and, where they are symbols, others: one key, none, and no batch. */
const callsOf = (p: Programs.Program, traced: Graph.Graph): ReadonlyArray<Call> => {
  const own = callOf(p, traced, p.sizes)
  if (!p.symbolic) return [own]
  const others = [
    { ...p.sizes, B: 1, T: 4, S: 9 },
    { ...p.sizes, S: 0 },
    { ...p.sizes, T: 0 }
  ]
  return [own, callOf(p, traced, others[p.seed % 3] as Programs.Sizes)]
}

const expectResults = (
  what: string,
  traced: Graph.Graph,
  call: Call,
  actual: { readonly [name: string]: HostArray }
): void => {
  const tolerances = Tolerance.of(traced, call.sizes, { reassociated: true, exponent: 40 })
  traced.outputs.forEach(({ name }, i) => {
    const [found, wanted] = [actual[name] as HostArray, call.expected[i] as HostArray]
    const compared = Tolerance.compare(found, refined(wanted, found), tolerances[i] as Tolerance.Tolerance)
    const lengths = JSON.stringify(call.sizes)
    expect(compared.ok, `${what} ${lengths} ${name}: ${compared.message}\n${Print.graph(traced)}`).toBe(true)
  })
}

/** Runs a compiled program at all its lengths on the backend it was compiled for. */
const run = (what: string, f: Runnable, traced: Graph.Graph, calls: ReadonlyArray<Call>) =>
  Effect.forEach(calls, (call) =>
    Effect.map(f(call.inputs), (actual) => expectResults(what, traced, call, actual))
  )

/** One node with the key/value heads as they came, and no softmax but one that the program returns. */
const expectFused = (p: Programs.Program, f: Runnable, sizes: Dim.Bindings): void => {
  const graph = f.graph("after-fuse-attention")
  const why = `${f.explain()}\n${f.ir("after-unexpand-heads")}`
  const found = nodesOf(graph, "flash_attention").filter((n) => n.attrs.output === "result")
  expect(found.length, why).toBe(1)
  expect(nodesOf(graph, "softmax").length, why).toBe(p.extra === "weights" ? 1 : 0)
  const { B, M, S, D, E } = { ...p.sizes, ...sizes }
  const elements = found.flatMap((n) =>
    n.operands.slice(1, 3).map((x) => Dim.evaluate(Dim.product(x.type.shape), sizes))
  )
  // Heads in another order than the node's groups are laid out anew.
  if (p.heads !== "interleaved") expect(elements, why).toEqual([B * M * S * D, B * M * S * E])
  expect(
    found.flatMap((n) => n.operands.slice(1, 3)).every(isViewOfInput) || p.heads === "interleaved",
    why
  ).toBe(true)
}

const count = 150

/** A software driver takes seconds to compile the kernels of one program, so few programs run there, and fewer unfused. */
const onGpu = (p: Programs.Program): boolean => p.seed % 25 === 2
const unfusedOnGpu = (p: Programs.Program): boolean => p.seed % 75 === 2

describe("random attention programs mean the same plain, optimised and on every backend", () => {
  const drawn = Array.from({ length: count }, (_, i) => Programs.program(i + 1))
  test.each(drawn.map((p) => [Programs.describe(p), p] as const))("%s", async (_, p) => {
    const f = await onReference(compiled(p, { hooks: [checked] }))
    const traced = f.graph("traced")
    expectRoundTrips(traced)
    const calls = callsOf(p, traced)
    expectFused(p, f, (calls[0] as Call).sizes)
    await Effect.runPromise(run("optimised, on the reference", f, traced, calls))
    for (const call of calls) {
      const given = traced.inputs.map((i) => call.inputs[i.attrs.name] as HostArray)
      const exact = ReferenceBackend.evaluate(f.graph(), given, call.sizes, { precision: "f64" })
      const named = Object.fromEntries(traced.outputs.map(({ name }, i) => [name, exact[i] as HostArray]))
      expectResults("optimised, in float64", traced, call, named)
    }
    if (!onGpu(p)) return
    const gpu = WebGpu.layerDevice(await sharedDevice())
    const both = Effect.gen(function* () {
      yield* run("on WebGPU", yield* compiled(p), traced, calls)
      if (!unfusedOnGpu(p)) return
      const plain = yield* compiled(p, { pipeline: "canonicalize" })
      expect(nodesOf(plain.graph(), "flash_attention")).toEqual([])
      yield* run("on WebGPU, unfused", plain, traced, calls)
    })
    await Effect.runPromise(Effect.provide(both, gpu))
  })
})
