import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { limits as wasmLimits } from "../../../backends/wasm/limits.ts"
import * as WasmLower from "../../../backends/wasm/lower.ts"
import * as WasmStats from "../../../backends/wasm/stats.ts"
import * as GpuLower from "../../../backends/webgpu/lower.ts"
import * as GpuStats from "../../../backends/webgpu/stats.ts"
import type { Bindings } from "../../../ir/Dim.ts"
import { portable } from "../../../ir/Limits.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import * as Wasm from "../../../src/Wasm.ts"
import { prepare } from "../../support/nn/face.ts"
import { cachePlan, onPagesAndWhole, planRows } from "../../support/nn/pages.ts"
import { at, bound, build, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [B, T, F, P, R] = [2, 9, 16, 6, 4]
// Both begin with page 3; page 1 is nobody's.
const table = [3, 0, 5, 3, 4, 2]

const prepared = (config: Partial<nn.AttentionConfig> = {}) =>
  prepare(
    nn.attention({
      ...{ features: F, heads: 4, kvHeads: 2, causal: true, dtype: "f64" },
      rope: { base: 50 },
      ...config
    })
  )

/** Numbers whose first page is the same for both. */
const x = build([B, T, F], (b, t, f) => at(randomDense(3, [B, T, F]), t < R ? 0 : b, t, f))

const cut = (from: number, to: number): Dense => build([B, to - from, F], (b, t, f) => at(x, b, from + t, f))

describe("a cache of pages", () => {
  it.each([
    ["word by word", [1, 1, 1, 1, 1, 1, 1, 1, 1], {}],
    ["a prompt of whole pages, then words", [8, 1], {}],
    ["a prompt that ends within a page", [5, 1, 1, 1, 1], {}],
    ["across the ends of pages", [3, 3, 3], {}],
    ["all at once", [9], {}],
    ["with a window", [5, 2, 2], { window: 3 }]
  ] as const)("equals the whole at once, sequences sharing a page: %s", (_, steps, config) => {
    const { bounds, give, apply } = prepared(config)
    const expected = run(apply({ query: give(bound("f64", x)) }).out, bounds)
    let [key, value] = [0, 1].map(() => build([P, R, 2, 4], () => 99)) as [Dense, Dense]
    let first = 0
    for (const count of steps) {
      const own = [
        bound("f64", cut(first, first + count)),
        bound("f64", key),
        bound("f64", value),
        bound("i32", dense([B, 3], table)),
        bound("i32", dense([B], [first, first]))
      ]
      const [query, keys, values, pages, length] = own.map((b) => b.tensor) as [
        Tensor.Tensor,
        Tensor.Tensor,
        Tensor.Tensor,
        Tensor.Tensor,
        Tensor.Tensor
      ]
      const { out, cache } = apply({ query, cache: { key: keys, value: values, length, table: pages } })
      const result = (t: Tensor.Tensor | undefined): Dense => run(t as Tensor.Tensor, [...bounds, ...own])
      const until = first + count
      expectDense(
        result(out),
        build([B, count, F], (b, t, f) => at(expected, b, first + t, f))
      )
      ;[key, value] = [result(cache?.key), result(cache?.value)]
      first = until
    }
    // What no table names is not touched, nor rows that are not reached.
    expect(key.data.slice(R * 8, 2 * R * 8).every((n) => n === 99)).toBe(true)
    expect(at(key, 5, 1, 0, 0)).toBe(99)
    expect(at(key, 5, 0, 0, 0)).not.toBe(99)
  })

  it("writes nothing past the end of its table", () => {
    const { bounds, give, apply } = prepared()
    const pool = build([P, R, 2, 4], () => 99)
    const [key, length] = [give(bound("f64", pool)), give(bound("i32", dense([], [12])))]
    const pages = give(bound("i32", dense([B, 3], table)))
    const query = give(bound("f64", cut(0, 1)))
    const { cache } = apply({ query, cache: { key, value: key, length, table: pages } })
    expectDense(run(cache?.key as Tensor.Tensor, bounds), pool)
  })

  it.each([
    ["the reference", Reference.layer],
    ["wasm", Wasm.layer]
  ])("gives on %s what a cache that lies whole gives, bit for bit", async (_, layer) => {
    for (const [headSize, count] of [
      [8, 1],
      [6, 3]
    ] as const) {
      const both = onPagesAndWhole("f32", headSize, count).pipe(Effect.provide(layer))
      const { paged, whole } = await Effect.runPromise(both)
      expect(paged.data).toEqual(whole.data)
    }
  })

  it.each(["webgpu", "wasm"] as const)("takes no memory for gathered keys on %s", (backend) => {
    const [paged, plain] = [costOf(backend, true), costOf(backend, false)]
    const costs = [4, 400].map((W) => {
      const sizes = { B: 3, T: 1, W, P: 3 * W, C: W * planRows }
      return { own: paged(sizes), as: plain(sizes) }
    })
    for (const { own, as } of costs) {
      // What stands beside the unpaged memory is where each new row goes: page and row of three sequences.
      expect(own.scratchBytes - as.scratchBytes).toBeLessThanOrEqual(3 * 16)
      expect(own.keyValueBytesRead).toBe(as.keyValueBytesRead)
    }
  })

  it("is read by one kernel, which finds pages through the table", () => {
    const { graph } = cachePlan(true, portable)
    const reading = graph.nodes.flatMap((n) =>
      n.op === "fused" ? [n.attrs.body.nodes.map((x) => x.op)] : []
    )
    const attention = reading.filter((ops) => ops.includes("flash_attention"))
    expect(attention).toHaveLength(1)
    expect(attention[0]?.filter((op) => op === "gather")).toHaveLength(2)
    expect(reading.filter((ops) => ops.includes("scatter"))).toHaveLength(2)
  })
})

const wasm = { simd: true, relaxed: true }

/** What a call costs, counted. */
const costOf = (backend: "webgpu" | "wasm", paged: boolean) => {
  if (backend === "webgpu") {
    const plan = cachePlan(paged, portable)
    const program = GpuLower.lower(plan, portable)
    return (sizes: Bindings) => GpuStats.statsOf(plan, program, portable, sizes)
  }
  const plan = cachePlan(paged, wasmLimits)
  const program = WasmLower.lower(plan, wasm)
  return (sizes: Bindings) => WasmStats.statsOf(plan, program, sizes)
}
