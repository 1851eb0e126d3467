/** NaN, infinities and empty rows in the data of a call: what comes out is written down here, on both backends. */
import { Effect, ManagedRuntime } from "effect"
import { afterAll, describe, expect, test } from "vitest"
import type { Backend } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as Mask from "../../../src/Mask.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import * as WebGpu from "../../../src/WebGpu.ts"
import * as Arrays from "../../support/arrays.ts"
import { sharedGpu } from "../../support/dawn.ts"

const backends = [
  ["reference", Reference.layer],
  ["webgpu", WebGpu.layerWith({ gpu: await sharedGpu() })]
] as const

const f32 = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>) =>
  HostArray.fromNumbers("f32", shape, values)

const inf = Infinity
const nan = NaN

describe.each(backends)("on %s", (_, layer) => {
  const runtime = ManagedRuntime.make(layer)
  const run = <A, E>(effect: Effect.Effect<A, E, Backend>): Promise<A> => runtime.runPromise(effect)
  afterAll(() => runtime.dispose())

  test("NaN and infinities pass through arithmetic", () =>
    Effect.gen(function* () {
      const f = yield* compile(
        ({ x }) => ({ sum: Tensor.add(x, 1), product: Tensor.mul(x, 2), less: Tensor.neg(x) }),
        { x: spec("f32", ["N"]) }
      )
      const out = yield* f({ x: f32([4], [nan, inf, -inf, 1]) })
      expect([...out.sum.data]).toEqual([nan, inf, -inf, 2])
      expect([...out.product.data]).toEqual([nan, inf, -inf, 2])
      expect([...out.less.data]).toEqual([nan, -inf, inf, -1])
    }).pipe(run))

  test("copies keep every bit of what they move", () =>
    Effect.gen(function* () {
      const f = yield* compile(({ x }) => Tensor.transpose(x), { x: spec("f32", [2, "N"]) })
      const out = yield* f({ x: f32([2, 2], [nan, inf, -inf, -0]) })
      expect([...out.data]).toEqual([nan, -inf, inf, -0])
    }).pipe(run))

  test("softmax gives -inf no weight, and an empty row nothing", () =>
    Effect.gen(function* () {
      const f = yield* compile(({ x }) => Tensor.softmax(x, -1), { x: spec("f32", ["N", 3]) })
      const out = yield* f({ x: f32([3, 3], [0, -inf, 0, -inf, -inf, -inf, -inf, 5, -inf]) })
      expect([...out.data]).toEqual([0.5, 0, 0.5, 0, 0, 0, 0, 1, 0])
    }).pipe(run))

  const attention = compile(
    ({ q, k, v, keep }) =>
      Tensor.matmul(q, Tensor.transpose(k)).pipe(
        Mask.apply(Mask.fromTensor(keep)),
        Tensor.softmax(-1),
        Tensor.matmul(v)
      ),
    {
      q: spec("f32", [1, 1, "T", 4]),
      k: spec("f32", [1, 1, "S", 4]),
      v: spec("f32", [1, 1, "S", 4]),
      keep: spec("bool", ["T", "S"])
    },
    { requireFused: true }
  )
  const bools = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>) =>
    HostArray.fromNumbers("bool", shape, values)
  const [q, k, v] = [1, 2, 3].map((seed) => Arrays.array(Arrays.random(seed), "f32", [1, 1, 3, 4]))
  const arrays = { q, k, v } as { readonly [K in "q" | "k" | "v"]: HostArray.HostArray<"f32"> }

  test("a row that a mask empties is exactly zero, and the others do not see it", () =>
    Effect.gen(function* () {
      const f = yield* attention
      const out = yield* f({ ...arrays, keep: bools([3, 3], [1, 1, 1, 0, 0, 0, 0, 1, 0]) })
      expect([...out.data.subarray(4, 8)]).toEqual([0, 0, 0, 0])
      expect(Object.is(out.data[4], 0)).toBe(true)
      const only = [...out.data.subarray(8)]
      for (const [i, x] of only.entries()) expect(x).toBeCloseTo(arrays.v.data[4 + i] as number, 6)
    }).pipe(run))

  test("a mask of another shape is refused, and the next call works", () =>
    Effect.gen(function* () {
      const f = yield* attention
      const error = yield* Effect.flip(f({ ...arrays, keep: bools([3, 2], [1, 1, 1, 1, 1, 1]) }))
      expect(error._tag).toBe("SignatureError")
      expect(error.message).toContain('axis 1 of "keep" is 2, but S is 3')
      const out = yield* f({ ...arrays, keep: bools([3, 3], new Array(9).fill(0)) })
      expect([...out.data]).toEqual(new Array(12).fill(0))
    }).pipe(run))

  test("NaN in a query spoils its row, in a key or value what sees it, and nothing else", () =>
    Effect.gen(function* () {
      const f = yield* attention
      const causal = bools([3, 3], [1, 0, 0, 1, 1, 0, 1, 1, 1])
      const spoiled = (name: "q" | "k" | "v", index: number) => {
        const data = arrays[name].data.slice()
        data[index] = nan
        return f({ ...arrays, keep: causal, [name]: { ...arrays[name], data } })
      }
      const rows = (out: HostArray.HostArray<"f32">) =>
        [0, 1, 2].map((i) => [...out.data.subarray(4 * i, 4 * i + 4)].map(Number.isNaN))
      const [none, all] = [new Array(4).fill(false), new Array(4).fill(true)]
      expect(rows(yield* spoiled("q", 4))).toEqual([none, all, none])
      expect(rows(yield* spoiled("k", 4))).toEqual([none, all, all])
      expect(rows(yield* spoiled("v", 5))).toEqual([
        none,
        [false, true, false, false],
        [false, true, false, false]
      ])
    }).pipe(run))

  test("infinite scores: -inf takes no part, in the data as in a mask", () =>
    Effect.gen(function* () {
      const f = yield* compile(
        ({ q, k, v, bias }) =>
          Tensor.matmul(q, Tensor.transpose(k)).pipe(Tensor.add(bias), Tensor.softmax(-1), Tensor.matmul(v)),
        {
          q: spec("f32", ["T", 4]),
          k: spec("f32", ["S", 4]),
          v: spec("f32", ["S", 4]),
          bias: spec("f32", ["T", "S"])
        },
        { requireFused: true }
      )
      const flat = (x: HostArray.HostArray) => ({ ...x, shape: [3, 4] })
      const out = yield* f({
        q: flat(arrays.q),
        k: flat(arrays.k),
        v: flat(arrays.v),
        bias: f32([3, 3], [0, -inf, -inf, -inf, -inf, -inf, -inf, -inf, 3])
      })
      const expected = [...arrays.v.data.subarray(0, 4), 0, 0, 0, 0, ...arrays.v.data.subarray(8)]
      for (const [i, x] of expected.entries()) expect(out.data[i]).toBeCloseTo(x, 6)
    }).pipe(run))
})
