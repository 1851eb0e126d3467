/** The library as a page uses it: attention on the browser's own WebGPU, against the reference in the same page. */
import { Effect, Result } from "effect"
import type * as Graph from "../../../ir/Graph.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Parse from "../../../ir/Parse.ts"
import * as Tolerance from "../../../ir/Tolerance.ts"
import { Backend, compile, Mask, Reference, spec, Tensor, WebGpu } from "../../../src/index.ts"
import * as Promised from "../../../src/promise.ts"
import * as Arrays from "../../support/arrays.ts"

const signature = {
  q: spec("f16", ["B", 8, "T", 16]),
  k: spec("f16", ["B", 2, "S", 16]),
  v: spec("f16", ["B", 2, "S", 16])
}

type Of<N extends keyof typeof signature> = Tensor.Tensor<"f16", (typeof signature)[N]["shape"]>

/** Eight query heads over two of keys and values, causal, each query sees the last eight keys. */
const attention = ({ q, k, v }: { readonly q: Of<"q">; readonly k: Of<"k">; readonly v: Of<"v"> }) =>
  Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, 4))).pipe(
    Tensor.mul(1 / Math.sqrt(16)),
    Mask.apply(Mask.and(Mask.causal, Mask.slidingWindow(7, 0))),
    Tensor.softmax(-1),
    Tensor.matmul(Tensor.repeatHeads(v, 4))
  )

interface Lengths {
  readonly B: number
  readonly T: number
  readonly S: number
}

const inputs = ({ B, T, S }: Lengths) => {
  const from = Arrays.random(B + T + S)
  return {
    q: Arrays.array(from, "f16", [B, 8, T, 16]),
    k: Arrays.array(from, "f16", [B, 2, S, 16]),
    v: Arrays.array(from, "f16", [B, 2, S, 16])
  }
}

/** Whether what WebGPU computes is what the reference computes, within the tolerance that the graph derives. */
const compared = (
  actual: HostArray.HostArray,
  expected: HostArray.HostArray,
  graph: Graph.Graph,
  sizes: Lengths
) => {
  const [tolerance] = Tolerance.of(graph, { ...sizes }, { expected: "rounded", reassociated: true })
  const { ok, worst, message } = Tolerance.compare(actual, expected, tolerance as Tolerance.Tolerance)
  const numbers = HostArray.toNumbers(actual)
  return {
    ok,
    message,
    error: worst?.error ?? 0,
    shape: actual.shape,
    zeros: numbers.filter((x) => x === 0).length / numbers.length
  }
}

/** Compiles once, runs at each of the lengths, and at others. */
export const layers = (lengths: ReadonlyArray<Lengths>) =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* compile(attention, signature, { requireFused: true })
    const expected = yield* compile(attention, signature).pipe(Effect.provide(Reference.layer))
    const runs = yield* Effect.forEach(lengths, (sizes) =>
      Effect.gen(function* () {
        const given = inputs(sizes)
        return compared(yield* f(given), yield* expected(given), f.graph("traced"), sizes)
      })
    )
    const compiled = backend.pipelinesCreated()
    for (const sizes of lengths) yield* f(inputs({ B: sizes.B + 1, T: sizes.T, S: sizes.S + 2 }))
    return {
      runs,
      compiled,
      kernels: f.stats({ B: 1, T: 1, S: 1 }).pipelines,
      compiledLater: backend.pipelinesCreated() - compiled,
      alive: backend.buffersAlive(),
      attention: f.graph("after-fuse-attention").nodes.filter((n) => n.op === "flash_attention").length
    }
  }).pipe(Effect.provide(WebGpu.layer), Effect.runPromise)

/** The same through promises, and what a wrong call is told. */
export const promises = async (sizes: Lengths) => {
  const [gpu, reference] = await Promise.all([Promised.webgpu(), Promised.reference()])
  const [f, expected] = [
    await gpu.compile(attention, signature),
    await reference.compile(attention, signature)
  ]
  const given = inputs(sizes)
  const held = await gpu.upload(given.q)
  const out = await f.onDevice({ ...given, q: held })
  const actual = await gpu.download(out)
  await gpu.free(held, out)
  const wrong = await f({ ...given, q: given.k }).then(String, (error) => `${error._tag}: ${error.message}`)
  const result = compared(
    actual,
    await expected(given),
    Result.getOrThrow(Parse.graph(f.ir("traced"))),
    sizes
  )
  await Promise.all([gpu.close(), reference.close()])
  return { ...result, wrong }
}

/** What a page learns of the time of its kernels. */
export const profile = async (sizes: Lengths) => {
  const gpu = await Promised.webgpu()
  const f = await gpu.compile(attention, signature)
  const told = await f.profile(inputs(sizes))
  await gpu.close()
  return told
}

/** A large argument, twice: whether the results are right, and the bytes that the queue was given to write. */
export const large = async () => {
  const gpu = await Promised.webgpu()
  const f = await gpu.compile(({ x }) => Tensor.add(x, 1), { x: spec("f32", ["N"]) })
  const { writeBuffer } = GPUQueue.prototype
  let written = 0
  GPUQueue.prototype.writeBuffer = function (...args) {
    written += (args[2] as ArrayBufferView).byteLength
    return writeBuffer.apply(this, args)
  }
  const data = Float32Array.from({ length: 300_001 }, (_, i) => i)
  const results = await Promise.all(
    [0, 1, 2].map(() => f({ x: { dtype: "f32", shape: [data.length], data } }))
  )
  GPUQueue.prototype.writeBuffer = writeBuffer
  await gpu.close()
  return { right: results.every((r) => r.data.every((x, i) => x === i + 1)), written }
}
