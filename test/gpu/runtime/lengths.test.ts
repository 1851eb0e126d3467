/** Lengths live in uniforms: what one call costs the device, and what many calls leave behind. */
import { Effect } from "effect"
import { expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as Mask from "../../../src/Mask.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import * as WebGpu from "../../../src/WebGpu.ts"
import * as Arrays from "../../support/arrays.ts"
import { watchedGpu } from "../../support/watchedGpu.ts"

const attention = compile(
  ({ q, k, v }) =>
    Tensor.matmul(q, Tensor.transpose(k)).pipe(
      Tensor.mul(0.5),
      Mask.apply(Mask.causal),
      Tensor.softmax(-1),
      Tensor.matmul(v)
    ),
  {
    q: spec("f32", ["B", 2, "T", 4]),
    k: spec("f32", ["B", 2, "S", 4]),
    v: spec("f32", ["B", 2, "S", 4])
  }
)

const inputs = (seed: number, b: number, t: number, s: number) => {
  const from = Arrays.random(seed)
  return {
    q: Arrays.array(from, "f32", [b, 2, t, 4]),
    k: Arrays.array(from, "f32", [b, 2, s, 4]),
    v: Arrays.array(from, "f32", [b, 2, s, 4])
  }
}

test("a call is one submit, and another length compiles nothing", async () => {
  const watched = await watchedGpu()
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* attention
    const pipelines = backend.pipelinesCreated()
    expect(pipelines).toBeGreaterThan(0)
    expect(watched.pipelines()).toBe(pipelines)
    for (const [i, [b, t, s]] of (
      [
        [1, 3, 3],
        [1, 1, 17],
        [2, 40, 70],
        [3, 1, 1],
        [0, 5, 5],
        [1, 0, 5],
        [1, 5, 0]
      ] as const
    ).entries()) {
      const before = watched.submits()
      const out = yield* f(inputs(i, b, t, s))
      expect(out.shape).toEqual([b, 2, t, 4])
      expect(HostArray.toNumbers(out).every(Number.isFinite)).toBe(true)
      expect(watched.submits() - before).toBe(1)
    }
    expect(backend.pipelinesCreated()).toBe(pipelines)
    expect(watched.pipelines()).toBe(pipelines)
    expect(watched.uncaptured).toEqual([])
  }).pipe(Effect.provide(WebGpu.layerWith({ gpu: watched.gpu })), Effect.runPromise)
})

test("many calls at varying lengths settle at a fixed set of buffers", async () => {
  const watched = await watchedGpu()
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* compile(({ x, y }) => ({ product: Tensor.matmul(x, y), exp: Tensor.exp(x) }), {
      x: spec("f32", ["M", "K"]),
      y: spec("f32", ["K", "N"])
    })
    const from = Arrays.random(7)
    const call = () => {
      const [m, k, n] = [1, 2, 3].map(() => from.integer(0, 23)) as [number, number, number]
      return f({ x: HostArray.zeros("f32", [m, k]), y: HostArray.zeros("f32", [k, n]) })
    }
    for (let i = 0; i < 100; i++) yield* call()
    const [created, alive, pipelines] = [
      watched.buffersCreated(),
      watched.buffersAlive(),
      watched.pipelines()
    ]
    for (let i = 0; i < 100; i++) {
      yield* call()
      expect(backend.buffersAlive()).toBe(0)
    }
    // A size class that was not seen before may come; what is there is used again.
    expect(created).toBeLessThan(60)
    expect(watched.buffersCreated() - created).toBeLessThan(10)
    expect(watched.buffersAlive()).toBeLessThan(alive + 10)
    expect(watched.pipelines()).toBe(pipelines)
    expect(watched.submits()).toBe(200)
  }).pipe(Effect.provide(WebGpu.layerWith({ gpu: watched.gpu })), Effect.runPromise)
  expect(watched.buffersAlive()).toBe(0)
})

test("results on the device are one submit, a download another", async () => {
  const watched = await watchedGpu()
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* compile(({ x }) => [Tensor.exp(x), Tensor.neg(x)] as const, { x: spec("f32", ["N"]) })
    const [a] = yield* f.onDevice({ x: HostArray.zeros("f32", [3]) })
    expect(watched.submits()).toBe(1)
    expect([...(yield* backend.download(a)).data]).toEqual([1, 1, 1])
    expect(watched.submits()).toBe(2)
  }).pipe(Effect.scoped, Effect.provide(WebGpu.layerWith({ gpu: watched.gpu })), Effect.runPromise)
})
