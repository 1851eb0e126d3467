/** What a call needs of intermediate memory grows with its lengths, never with queries times keys, whatever fuses. */
import { Result } from "effect"
import { describe, expect, test } from "vitest"
import { limits as wasmLimits } from "../../backends/wasm/limits.ts"
import { lower as toWasm } from "../../backends/wasm/lower.ts"
import { statsOf as wasmStats } from "../../backends/wasm/stats.ts"
import { lower as toWgsl } from "../../backends/webgpu/lower.ts"
import { statsOf as gpuStats } from "../../backends/webgpu/stats.ts"
import type { Bindings } from "../../ir/Dim.ts"
import type * as Graph from "../../ir/Graph.ts"
import * as Limits from "../../ir/Limits.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { decoder, gpt2, Params, torch } from "../../src/nn/index.ts"
import { spec } from "../../src/spec.ts"
import type * as Tensor from "../../src/Tensor.ts"
import { trace } from "../../src/trace.ts"
import { pieces } from "../support/gallery.ts"

type Cost = (sizes: Bindings) => number

const planOf = (graph: Graph.Graph, limits: Limits.Limits, passes = Pipeline.defaultText) => {
  const pipeline = Result.getOrThrow(Pipeline.parse(passes))
  const { memory, ...plan } = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
  if (memory === undefined) throw new Error("memory is planned")
  return { ...plan, memory }
}

const onGpu =
  (limits: Limits.Limits, passes?: string) =>
  (graph: Graph.Graph): Cost => {
    const plan = planOf(graph, limits, passes)
    const program = toWgsl(plan, limits)
    return (sizes) => gpuStats(plan, program, limits, sizes).scratchBytes
  }

const backends: ReadonlyArray<readonly [string, (graph: Graph.Graph) => Cost]> = [
  [
    "a GPU",
    onGpu({
      ...Limits.portable,
      maxStorageBuffersPerShaderStage: 12,
      twinProducts: true,
      productsInPlace: true
    })
  ],
  ["a software GPU", onGpu({ ...Limits.portable, kind: "cpu", subgroups: { min: 4, max: 4 } })],
  [
    "WebAssembly",
    (graph) => {
      const plan = planOf(graph, wasmLimits)
      const program = toWasm(plan, { simd: true, relaxed: true })
      return (sizes) => wasmStats(plan, program, sizes).scratchBytes
    }
  ]
]

const traced = (fn: unknown, signature: object): Graph.Graph =>
  Result.getOrThrow(trace(fn as Parameters<typeof trace>[0], signature as never)).graph

const tokens = spec("i32", ["B", "T"])
const models = {
  Llama: decoder({ words: 100, features: 64, layers: 2, heads: 8, kvHeads: 2, hidden: 176 }),
  "GPT-2": gpt2({ words: 100, positions: 9000, features: 64, layers: 2, heads: 8 })
}

/** As it is by default: weights averaged over heads are a result. */
const attention = torch.MultiheadAttention(64, 8, { batchFirst: true })

const cases: ReadonlyArray<readonly [string, Graph.Graph, Bindings]> = [
  ...Object.entries(models).map(([name, model]) => {
    const fn = (values: { readonly [name: string]: Tensor.Tensor }) =>
      (model as ReturnType<typeof decoder>).apply(Params.nest(model.params as never, values, "params."), {
        tokens: values["tokens"] as Tensor.Tensor
      }).logits
    return [
      name,
      traced(fn, { ...Params.signature(model.params, "params."), tokens }),
      { B: 1, T: 8 }
    ] as const
  }),
  [
    "attention of PyTorch, which returns weights",
    traced(
      (values: { readonly [name: string]: Tensor.Tensor }) => {
        const x = values["x"] as Tensor.Tensor
        const params = Params.nest(attention.params as never, values, "params.")
        return attention.apply(params, { query: x, key: x, value: x })
      },
      { ...Params.signature(attention.params, "params."), x: spec("f32", ["B", "T", 64]) }
    ),
    { B: 1, T: 8 }
  ],
  ...(["bool", "f32"] as const).map((dtype) => {
    const layer = torch.MultiheadAttention(64, 8, { batchFirst: true, addBiasKv: true, addZeroAttn: true })
    const graph = traced(
      (values: { readonly [name: string]: Tensor.Tensor }) => {
        const { x, y, mask } = values as { readonly [name: string]: Tensor.Tensor } & Record<
          "x" | "y",
          Tensor.Tensor
        >
        const params = Params.nest(layer.params as never, values, "params.")
        return layer.apply(params, { query: x, key: y, value: y, attnMask: mask })
      },
      {
        ...Params.signature(layer.params, "params."),
        x: spec("f32", ["B", "T", 64]),
        y: spec("f32", ["B", "S", 64]),
        mask: spec(dtype, ["T", "S"])
      }
    )
    return [`keys behind those of a mask of ${dtype}`, graph, { B: 1, T: 8, S: 9 }] as const
  }),
  ...[...pieces].map(([name, { fn, signature, lengths }]) => [name, traced(fn, signature), lengths] as const)
]

const times = (lengths: Bindings, by: number): Bindings =>
  Object.fromEntries(Object.entries(lengths).map(([name, n]) => [name, name === "B" ? 1 : by * n]))

/** Bytes at some lengths, and at twice these. */
const grown = (cost: Cost, lengths: Bindings) =>
  [64, 128].map((by) => cost(times(lengths, by))) as [number, number]

describe.each(backends)("on %s", (_, costOf) => {
  test.each(cases)("%s", (_, graph, lengths) => {
    const [once, twice] = grown(costOf(graph), lengths)
    expect(twice).toBeLessThanOrEqual(2.01 * once)
  })
})

test("without fusion it does", () => {
  const unfused = onGpu(Limits.portable, "fuse-elementwise,choose-schedule,plan-memory")
  for (const [, graph, lengths] of cases) {
    const [once, twice] = grown(unfused(graph), lengths)
    expect(twice).toBeGreaterThan(3 * once)
  }
})
