/** What a call refuses, and that nothing is half done: no buffer more, and the next call works. */
import { Effect, ManagedRuntime } from "effect"
import { afterAll, describe, expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as ReferenceBackend from "../../../backends/reference/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Attention from "../../../src/Attention.ts"
import { compile } from "../../../src/compile.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { free, upload } from "../../../src/transfer.ts"
import * as WebGpu from "../../../src/WebGpu.ts"
import { sharedGpu } from "../../support/dawn.ts"

const backends = [
  ["reference", Reference.layer],
  ["webgpu", WebGpu.layerWith({ gpu: await sharedGpu() })]
] as const

const f32 = (...shape: ReadonlyArray<number>): HostArray.HostArray => HostArray.zeros("f32", shape)

const definition = compile(({ x, y }) => Tensor.add(Tensor.exp(x), y), {
  x: spec("f32", ["T", 3]),
  y: spec("f32", ["T", 3])
})

const good = { x: f32(2, 3), y: f32(2, 3) }

/** Calls that must fail: inputs, and what the message must name. */
const bad: ReadonlyArray<readonly [name: string, inputs: unknown, words: ReadonlyArray<string>]> = [
  ["no inputs", undefined, ["not a record", '"x"']],
  ["a missing input", { x: f32(2, 3) }, ['"y"', "missing"]],
  ["an extra input", { ...good, z: f32(1) }, ['"z"']],
  ["another size", { ...good, y: f32(2, 4) }, ["axis 1", '"y"', "4", "3"]],
  ["another rank", { ...good, y: f32(2, 3, 1) }, ['"y"', "[T, 3]", "[2, 3, 1]", "rank"]],
  ["another dtype", { ...good, y: HostArray.zeros("i32", [2, 3]) }, ['"y"', "f32", "i32"]],
  ["a length with two sizes", { ...good, y: f32(5, 3) }, ['"y"', "T is 2", '"x"']],
  [
    "data that does not fill its shape",
    { ...good, x: { ...f32(2, 3), data: new Float32Array(5) } },
    ['"x"', "5"]
  ],
  [
    "data of another type",
    { ...good, x: { ...f32(2, 3), data: new Float64Array(6) } },
    ['"x"', "Float32Array"]
  ],
  [
    "a device array that never was one",
    { ...good, x: { _tag: "DeviceArray", dtype: "f32", shape: [2, 3] } },
    []
  ]
]

describe.each(backends)("on %s", (name, layer) => {
  const runtime = ManagedRuntime.make(layer)
  const run = <A, E>(effect: Effect.Effect<A, E, Backend>): Promise<A> => runtime.runPromise(effect)
  afterAll(() => runtime.dispose())

  test("a bad call is refused by name and leaves nothing behind", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const f = yield* definition
      const alive = backend.buffersAlive()
      for (const [what, inputs, words] of bad) {
        const error = yield* Effect.flip(f(inputs as never))
        expect(error._tag, what).toBe(words.length > 0 ? "SignatureError" : "InvalidArray")
        for (const word of words) expect(`${error.message} (${error.hint})`, what).toContain(word)
        const left = yield* Effect.flip(Effect.scoped(f.onDevice(inputs as never)))
        expect(left._tag, what).toBe(error._tag)
        expect(backend.buffersAlive(), what).toBe(alive)
        const out = yield* f(good)
        expect([...out.data], what).toEqual([1, 1, 1, 1, 1, 1])
      }
    }).pipe(run))

  test("device arrays that cannot be used", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const f = yield* definition
      const y = f32(2, 3)
      const closed = yield* Effect.scoped(upload(y))
      const result = yield* Effect.scoped(f.onDevice(good))
      const elsewhere = yield* ReferenceBackend.make().upload(y)
      const freed = yield* upload(y)
      yield* free(freed)
      yield* free(freed)
      const alive = backend.buffersAlive()
      for (const x of [closed, result, freed, elsewhere]) {
        const error = yield* Effect.flip(f({ x, y }))
        expect(error._tag).toBe("InvalidArray")
        expect(error.message).toMatch(/scope|another device|did not make it/)
        expect(error.hint).toBeTruthy()
        expect((yield* Effect.flip(backend.download(x)))._tag).toBe("InvalidArray")
      }
      yield* free(elsewhere)
      expect(backend.buffersAlive()).toBe(alive)
      const here = yield* upload(y)
      expect([...(yield* f({ x: here, y: here })).data]).toEqual([1, 1, 1, 1, 1, 1])
    }).pipe(Effect.scoped, run))

  test("what cannot be uploaded", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const alive = backend.buffersAlive()
      const wrong: ReadonlyArray<unknown> = [
        undefined,
        { dtype: "f32", shape: [2], data: new Float32Array(3) },
        { dtype: "f32", shape: [2], data: new Float64Array(2) },
        { dtype: "f9", shape: [2], data: new Float32Array(2) }
      ]
      for (const array of wrong) {
        expect((yield* Effect.flip(upload(array as HostArray.HostArray)))._tag).toBe("SignatureError")
      }
      expect((yield* Effect.flip(upload((yield* upload(f32(1))) as never)))._tag).toBe("InvalidArray")
      expect(backend.buffersAlive()).toBe(alive + 1)
    }).pipe(Effect.scoped, run))

  test("lengths of zero", () =>
    Effect.gen(function* () {
      const f = yield* definition
      expect((yield* f({ x: f32(0, 3), y: f32(0, 3) })).shape).toEqual([0, 3])
      const sums = yield* compile(
        ({ x }) => ({
          sum: Tensor.sum(x, 1),
          largest: Tensor.max(x, 1),
          weights: Tensor.softmax(x, 1),
          product: Tensor.matmul(x, Tensor.transpose(x))
        }),
        { x: spec("f32", ["T", "N"]) }
      )
      const out = yield* sums({ x: f32(2, 0) })
      expect([...out.sum.data]).toEqual([0, 0])
      expect([...out.largest.data]).toEqual([-Infinity, -Infinity])
      expect(out.weights.shape).toEqual([2, 0])
      expect([...out.product.data]).toEqual([0, 0, 0, 0])
    }).pipe(run))

  test(name === "webgpu" ? "float64 is refused by name before anything runs" : "float64 runs", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const wide = compile(({ x }) => Tensor.neg(x), { x: spec("f64", [1]) })
      if (name === "reference") {
        const x = HostArray.fromNumbers("f64", [1], [2 ** -1070])
        expect((yield* (yield* wide)({ x })).data[0]).toBe(-(2 ** -1070))
        return
      }
      const pipelines = backend.pipelinesCreated()
      const inside = compile(({ x }) => Tensor.cast(Tensor.exp(Tensor.cast(x, "f64")), "f32"), {
        x: spec("f32", ["T"])
      })
      const q = spec("f32", [1, 1, "T", 8])
      const asked = compile(({ q }) => Attention.scaledDotProductAttention(q, q, q, { accumulate: "f64" }), {
        q
      })
      for (const [error, what] of [
        [yield* Effect.flip(wide), 'the input "x"'],
        [yield* Effect.flip(asked), "cast"],
        [yield* Effect.flip(inside), "cast"]
      ] as const) {
        expect(error._tag).toBe("UnsupportedByDevice")
        expect(error.message).toContain(what)
        expect(error.message).toContain("f64")
        expect(error.hint).toContain("f32")
        expect(error.hint).toContain("WebAssembly")
      }
      const error = yield* Effect.flip(upload(HostArray.zeros("f64", [1])))
      expect(error._tag).toBe("UnsupportedByDevice")
      expect([backend.pipelinesCreated(), backend.buffersAlive()]).toEqual([pipelines, 0])
    }).pipe(Effect.scoped, run)
  )
})
