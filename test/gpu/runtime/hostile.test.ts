/** Names from outside, absurd lengths, and calls all at once. */
import { Effect } from "effect"
import { expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import { type Spec, spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import * as WebGpu from "../../../src/WebGpu.ts"
import { sharedGpu } from "../../support/dawn.ts"
import { watchedGpu } from "../../support/watchedGpu.ts"

test("no name from outside reaches a shader", async () => {
  const names = [
    "evil_1",
    'x"); fn main() {',
    "*/ @compute /*",
    "__proto__",
    "constructor",
    "toString",
    "é\n\u2028"
  ]
  const watched = await watchedGpu()
  await Effect.gen(function* () {
    const codes: Array<string> = []
    const device = watched.device()
    const create = device.createShaderModule.bind(device)
    device.createShaderModule = (descriptor) => {
      codes.push(descriptor.code)
      return create(descriptor)
    }
    const signature = Object.fromEntries(
      names.map((name, i): [string, Spec] => [name, spec("f32", [`evil_length_${i}`])])
    )
    const f = yield* compile(
      (inputs: { readonly [name: string]: Tensor.Tensor }) =>
        Object.fromEntries(
          names.map((name) => [name, Tensor.label(Tensor.exp(inputs[name] as Tensor.Tensor), `evil ${name}`)])
        ),
      signature
    )
    const inputs = Object.fromEntries(names.map((name, i) => [name, HostArray.zeros("f32", [i])]))
    const out = yield* f(inputs)
    expect(Object.keys(out)).toEqual(names)
    for (const [i, name] of names.entries())
      expect([...(out[name]?.data ?? [])]).toEqual(new Array(i).fill(1))
    expect(codes.length).toBeGreaterThan(0)
    for (const code of codes) {
      for (const name of [...names, "evil"])
        expect(code).not.toContain(name === "constructor" ? "constructor(" : name)
    }
  }).pipe(Effect.provide(WebGpu.layerWith({ gpu: watched.gpu })), Effect.runPromise)
})

test("a length that no shader can count to is refused, also where there is nothing to allocate", async () => {
  const watched = await watchedGpu()
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* compile(({ x }) => Tensor.sum(x, 0), { x: spec("f32", ["N", "M"]) })
    const empty = (n: number, m: number) => ({
      x: { dtype: "f32" as const, shape: [n, m], data: new Float32Array(0) }
    })
    for (const inputs of [empty(2 ** 32, 0), empty(0, 2 ** 31), empty(0, 2 ** 40)]) {
      const error = yield* Effect.flip(f(inputs))
      expect(error._tag).toBe("UnsupportedByDevice")
      expect(error.message).toMatch(/N|M|output/)
    }
    expect(watched.submits()).toBe(0)
    expect(backend.buffersAlive()).toBe(0)
    expect([...(yield* f(empty(0, 3))).data]).toEqual([0, 0, 0])
  }).pipe(Effect.provide(WebGpu.layerWith({ gpu: watched.gpu })), Effect.runPromise)
})

test("calls at once do not see each other's buffers", async () => {
  await Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* compile(({ x }) => Tensor.softmax(Tensor.matmul(x, x), -1).pipe(Tensor.matmul(x)), {
      x: spec("f32", ["N", "N"])
    })
    const identity = (n: number, scale: number) =>
      HostArray.fromNumbers(
        "f32",
        [n, n],
        Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? scale : 0))
      )
    const sizes = Array.from({ length: 24 }, (_, i) => [1 + (i % 5), 1 + i] as const)
    const alone = yield* Effect.forEach(sizes, ([n, scale]) => f({ x: identity(n, scale) }))
    const together = yield* Effect.forEach(sizes, ([n, scale]) => f({ x: identity(n, scale) }), {
      concurrency: "unbounded"
    })
    expect(together).toEqual(alone)
    expect(new Set(alone.map((a) => a.data.join())).size).toBe(sizes.length)
    expect(backend.buffersAlive()).toBe(0)
  }).pipe(Effect.provide(WebGpu.layerWith({ gpu: await sharedGpu() })), Effect.runPromise)
})
