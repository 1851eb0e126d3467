/** What stands around a product, a norm or a row is part of its kernel, on each backend. */
import { Result } from "effect"
import { describe, expect, test } from "vitest"
import { limits as wasmLimits } from "../../backends/wasm/limits.ts"
import { lower as toWasm } from "../../backends/wasm/lower.ts"
import * as Wasm from "../../backends/wasm/Program.ts"
import { lower as toWgsl } from "../../backends/webgpu/lower.ts"
import * as WebGpu from "../../backends/webgpu/Program.ts"
import type { Bindings } from "../../ir/Dim.ts"
import type * as Graph from "../../ir/Graph.ts"
import * as Limits from "../../ir/Limits.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { spec } from "../../src/spec.ts"
import * as Tensor from "../../src/Tensor.ts"
import { type Signature, trace } from "../../src/trace.ts"

type Inputs = { readonly [name: string]: Tensor.Tensor }

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

const planOf = (graph: Graph.Graph, limits: Limits.Limits) => {
  const { memory, ...plan } = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
  if (memory === undefined) throw new Error("memory is planned")
  return { ...plan, memory }
}

/** Names of the kernels that a call of so many rows runs. Packing is how WebAssembly reads a product's operands. */
const backends: {
  readonly [name: string]: (graph: Graph.Graph, sizes: Bindings) => ReadonlyArray<string>
} = {
  WebGPU: (graph, sizes) => {
    const program = toWgsl(planOf(graph, Limits.portable), Limits.portable)
    return WebGpu.steps(program, sizes).map((s) => (program.kernels[s.kernel] as WebGpu.Kernel).name)
  },
  WebAssembly: (graph, sizes) => {
    const program = toWasm(planOf(graph, wasmLimits), { simd: true, relaxed: true })
    const names = Wasm.steps(program, sizes).map((s) => (program.kernels[s.kernel] as Wasm.Kernel).name)
    return names.filter((name) => name !== "pack")
  }
}

const [rows, weights] = [spec("f32", ["M", 64]), spec("f32", [64, 300])]
const results = spec("f32", ["M", 300])

const cases: ReadonlyArray<
  readonly [string, (inputs: Inputs) => Tensor.Tensor, Signature, ReadonlyArray<string>]
> = [
  [
    "a transposed right operand",
    ({ x, w }) => Tensor.matmul(x as Tensor.Tensor, Tensor.transpose(w as Tensor.Tensor)),
    { x: rows, w: spec("f32", [300, 64]) },
    ["matmul"]
  ],
  [
    "a transposed left operand",
    ({ x, w }) => Tensor.matmul(Tensor.transpose(x as Tensor.Tensor), w as Tensor.Tensor),
    { x: spec("f32", [64, "M"]), w: weights },
    ["matmul"]
  ],
  [
    "bias, activation, residual and cast behind a product",
    ({ x, w, b, r }) =>
      Tensor.matmul(x as Tensor.Tensor, w as Tensor.Tensor).pipe(
        Tensor.add(b as Tensor.Tensor),
        (y) => Tensor.gelu(y as Tensor.Tensor<"f32">),
        Tensor.add(r as Tensor.Tensor),
        Tensor.cast("f16")
      ) as Tensor.Tensor,
    { x: rows, w: weights, b: spec("f32", [300]), r: results },
    ["matmul"]
  ],
  [
    "heads side by side behind a product",
    ({ x, w }) =>
      Tensor.transpose(
        Tensor.reshape(Tensor.matmul(x as Tensor.Tensor, w as Tensor.Tensor), ["M", 4, 75]),
        [1, 0, 2]
      ),
    { x: rows, w: weights },
    ["matmul"]
  ],
  [
    "a residual in front of a norm, and its scale",
    ({ x, y, s }) =>
      Tensor.mul(
        Tensor.rmsNorm(Tensor.add(x as Tensor.Tensor, y as Tensor.Tensor) as Tensor.Tensor<"f32">),
        s as Tensor.Tensor
      ),
    { x: rows, y: rows, s: spec("f32", [64]) },
    ["rms_norm"]
  ],
  [
    "scale, shift and activation behind a norm",
    ({ x, s, b }) =>
      Tensor.layerNorm(x as Tensor.Tensor<"f32">).pipe(
        Tensor.mul(s as Tensor.Tensor),
        Tensor.add(b as Tensor.Tensor),
        (y) => Tensor.gelu(y as Tensor.Tensor<"f32">)
      ),
    { x: rows, s: spec("f32", [64]), b: spec("f32", [64]) },
    ["layer_norm"]
  ],
  [
    "a factor in front of a softmax",
    ({ x }) => Tensor.softmax(Tensor.mul(x as Tensor.Tensor<"f32">, 2), -1),
    { x: results },
    ["softmax"]
  ],
  [
    "elementwise work, however long",
    ({ x, y }) => {
      const sum = Tensor.add(x as Tensor.Tensor<"f32">, y as Tensor.Tensor<"f32">)
      return Tensor.tanh(Tensor.mul(Tensor.exp(sum), Tensor.sigmoid(x as Tensor.Tensor<"f32">)))
    },
    { x: rows, y: spec("f32", [64]) },
    ["map"]
  ]
]

describe.each(Object.entries(backends))("on %s", (_, kernelsOf) => {
  test.each(cases)("%s: one kernel", (_, fn, signature, expected) => {
    const { graph } = Result.getOrThrow(trace(fn as Parameters<typeof trace>[0], signature))
    expect(kernelsOf(graph, { M: 100 })).toEqual(expected)
  })
})
