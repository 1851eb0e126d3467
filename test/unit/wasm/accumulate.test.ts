/** Sums in float64 on request: asked for in the expression, computed by one kernel from what is stored. */
import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as Reference from "../../../backends/reference/Reference.ts"
import type * as DType from "../../../ir/DType.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as HostArrays from "../../../ir/HostArray.ts"
import * as Print from "../../../ir/Print.ts"
import * as Attention from "../../../src/Attention.ts"
import { compile } from "../../../src/compile.ts"
import * as Mask from "../../../src/Mask.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import * as Wasm from "../../../src/Wasm.ts"
import * as arrays from "../../support/arrays.ts"
import { expectOutputs } from "../../support/tolerance.ts"

type Any = Tensor.Tensor<DType.FloatDType>

const signature = (dtype: DType.FloatDType) => ({
  q: spec(dtype, ["B", 4, "T", 12]),
  k: spec(dtype, ["B", 2, "S", 12]),
  v: spec(dtype, ["B", 2, "S", 7])
})

/** By hand, as anybody would write it. */
const written =
  (dtype: DType.FloatDType) =>
  ({ q, k, v }: { readonly [N in "q" | "k" | "v"]: Tensor.Tensor }): Tensor.Tensor => {
    const [wide, keys, values] = [q, k, v].map((x) => Tensor.cast(x, "f64")) as [Any, Any, Any]
    return Tensor.matmul(wide, Tensor.transpose(Tensor.repeatHeads(keys, 2))).pipe(
      Tensor.mul(1 / Math.sqrt(12)),
      Mask.apply(Mask.causal),
      Tensor.softmax(-1),
      Tensor.matmul(Tensor.repeatHeads(values, 2)),
      Tensor.cast(dtype)
    ) as Tensor.Tensor
  }

/** By the option. */
const asked = ({ q, k, v }: { readonly [N in "q" | "k" | "v"]: Tensor.Tensor }): Tensor.Tensor =>
  Attention.scaledDotProductAttention(q as never, k as never, v as never, {
    mask: Mask.causal,
    accumulate: "f64"
  }) as Tensor.Tensor

const dtypes = ["f32", "f16", "bf16"] as const

describe.each(dtypes)("keys and values in %s", (dtype) => {
  test.each([
    ["by casts", written(dtype)],
    ["by accumulate", asked]
  ] as const)("%s: one kernel that reads them as they are", async (_, build) => {
    const run = Effect.gen(function* () {
      const f = yield* compile(build, signature(dtype), { requireFused: true })
      const graph = f.graph("after-fuse-elementwise")
      expect(graph.nodes.map((n) => n.op)).toEqual(["input", "input", "input", "fused"])
      expect(f.program).toMatch(/run kernel 0 flash_f64 \(/)
      expect(f.program).not.toMatch(/kernel 1|slot/)
      const traced = f.graph("traced")
      for (const [B, T, S] of [
        [2, 5, 9],
        [1, 1, 1],
        [1, 37, 70],
        [1, 0, 3],
        [2, 3, 0]
      ] as const) {
        const from = arrays.random(B + 7 * T + S)
        const given = {
          q: arrays.array(from, dtype, [B, 4, T, 12]),
          k: arrays.array(from, dtype, [B, 2, S, 12]),
          v: arrays.array(from, dtype, [B, 2, S, 7])
        }
        const inputs = [given.q, given.k, given.v]
        const expected = Reference.evaluate(traced, inputs, { B, T, S }, { precision: "f64" })
        const out = yield* f(given as never)
        expectOutputs(traced, { B, T, S }, [out as HostArray], expected, { reassociated: true })
      }
    })
    await Effect.runPromise(Effect.provide(run, Wasm.layer))
  })

  test("the option is the casts", async () => {
    const fused = (build: typeof asked) =>
      Effect.runPromise(
        Effect.map(compile(build, signature(dtype)), (f) =>
          Print.graph(f.graph("after-fuse-attention"))
        ).pipe(Effect.provide(Wasm.layer))
      )
    const text = await fused(asked)
    expect(text).toBe(await fused(written(dtype)))
    expect(text).toMatch(/f64\[B, 4, T, 7\] = flash_attention/)
  })
})

/**
 * Each key comes twice, with a value and with one minus that value: the result is 1/2 exactly, made of numbers of a million. Half of the
 * keys lie between, so sums are large for long.
 */
const cancelling = (S: number, T: number) => {
  const from = arrays.random(S)
  const half = S / 2
  const [q, k] = [arrays.array(from, "f32", [1, 1, T, 4]), arrays.array(from, "f32", [1, 1, half, 4])]
  const keys = HostArrays.toNumbers(k)
  const large = Array.from({ length: half }, () => from.integer(1, 2 ** 20))
  return {
    q,
    k: HostArrays.fromNumbers("f32", [1, 1, S, 4], Float64Array.from([...keys, ...keys])),
    v: HostArrays.fromNumbers("f32", [1, 1, S, 1], Float64Array.from([...large, ...large.map((x) => 1 - x)]))
  }
}

test.each([
  [1, 2000],
  [50, 2000]
])("%i queries: where sums in f32 lose more than four digits, those in f64 lose none", async (T, S) => {
  const off = (accumulate: "f64" | undefined) =>
    Effect.gen(function* () {
      const f = yield* compile(
        ({ q, k, v }) => Attention.scaledDotProductAttention(q, k, v, { accumulate }),
        { q: spec("f32", [1, 1, "T", 4]), k: spec("f32", [1, 1, "S", 4]), v: spec("f32", [1, 1, "S", 1]) }
      )
      const { data } = yield* f(cancelling(S, T))
      return Math.max(...[...data].map((x) => Math.abs(x - 0.5)))
    }).pipe(Effect.provide(Wasm.layer), Effect.runPromise)
  expect(await off(undefined)).toBeGreaterThan(1e4 * 2 ** -25)
  expect(await off("f64")).toBe(0)
})

test("products and sums of doubles: what f32 loses is there", async () => {
  const run = Effect.gen(function* () {
    const f = yield* compile(
      ({ a, b }) => ({
        dot: Tensor.cast(Tensor.matmul(Tensor.cast(a, "f64"), Tensor.cast(b, "f64")), "f32"),
        sum: Tensor.cast(Tensor.sum(Tensor.cast(a, "f64"), -1), "f32")
      }),
      { a: spec("f32", ["M", "K"]), b: spec("f32", ["K", 1]) }
    )
    const [M, K] = [3, 1001]
    // A half behind numbers that cancel.
    const rows = Float32Array.from({ length: M * K }, (_, i) => {
      const k = i % K
      return k === K - 1 ? 0.5 : (k % 2 === 0 ? 1 : -1) * 2 ** 24
    })
    const out = yield* f({
      a: { dtype: "f32", shape: [M, K], data: rows },
      b: { dtype: "f32", shape: [K, 1], data: new Float32Array(K).fill(1 / 3) }
    })
    expect([...out.sum.data]).toEqual([0.5, 0.5, 0.5])
    for (const x of out.dot.data) expect(x).toBeCloseTo(1 / 6, 7)
  })
  await Effect.runPromise(Effect.provide(run, Wasm.layer))
})

test("doubles have the same bits on any number of threads", async () => {
  const on = (threads: number) =>
    Effect.gen(function* () {
      const f = yield* compile(
        ({ q, k, v, w }) => {
          const out = Attention.scaledDotProductAttention(q, k, v, { mask: "causal" })
          return { out, projected: Tensor.matmul(out, w), norm: Tensor.softmax(out, 2) }
        },
        {
          q: spec("f64", [1, 4, "T", 16]),
          k: spec("f64", [1, 2, "T", 16]),
          v: spec("f64", [1, 2, "T", 16]),
          w: spec("f64", [16, 40])
        }
      )
      const from = arrays.random(5)
      const given = (T: number) => ({
        q: arrays.array(from, "f64", [1, 4, T, 16]),
        k: arrays.array(from, "f64", [1, 2, T, 16]),
        v: arrays.array(from, "f64", [1, 2, T, 16]),
        w: arrays.array(from, "f64", [16, 40])
      })
      // The second call that is worth it has threads.
      return yield* Effect.forEach([200, 201, 330], (T) => f(given(T)))
    }).pipe(Effect.provide(Wasm.layerWith({ threads })), Effect.runPromise)
  const [one, ...others] = await Promise.all([1, 2, 3].map(on))
  for (const other of others) expect(other).toEqual(one)
})

test("an array of doubles goes to the device and comes back", async () => {
  const array = { dtype: "f64", shape: [3], data: Float64Array.of(1 / 3, -0, 1e300) } as const
  const run = Effect.gen(function* () {
    const backend = yield* Backend
    const there = yield* backend.upload(array)
    return yield* backend.download(there)
  })
  expect(await Effect.runPromise(Effect.scoped(Effect.provide(run, Wasm.layer)))).toEqual(array)
})

test("accumulate is f64 or nothing", () => {
  const q = Tensor.input("q", spec("f32", [1, 1, 2, 4]))
  const half = { accumulate: "f16" } as never
  expect(() => Attention.scaledDotProductAttention(q, q, q, half)).toThrow(
    `accumulate is "f64" or absent, not f16`
  )
})
