import { describe, expect, it } from "vitest"
import * as Graph from "../../../ir/Graph.ts"
import { canonicalize } from "../../../passes/canonicalize.ts"
import { fuseAttention } from "../../../passes/fuseAttention.ts"
import { normalizeMask } from "../../../passes/normalizeMask.ts"
import { normalizeSoftmax } from "../../../passes/normalizeSoftmax.ts"
import { unexpandHeads } from "../../../passes/unexpandHeads.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { nodesOf, through } from "../../support/fusing.ts"
import { prepare } from "../../support/nn/face.ts"
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

  it("is read by one flash_attention, through one gather for keys and one for values", () => {
    const { give, apply } = prepared()
    const pool = () =>
      give(
        bound(
          "f64",
          build([P, R, 2, 4], () => 0)
        )
      )
    const [table_, length] = [
      give(bound("i32", dense([B, 3], table))),
      give(bound("i32", dense([B], [4, 4])))
    ]
    const query = give(bound("f64", cut(4, 5)))
    const { out } = apply({ query, cache: { key: pool(), value: pool(), length, table: table_ } })
    const graph = Graph.make([{ name: "out", node: Tensor.nodeOf(out) }])
    const passes = [canonicalize, normalizeSoftmax, normalizeMask, unexpandHeads, fuseAttention]
    const fused = through(graph, ...passes).graph
    expect(nodesOf(fused, "flash_attention")).toHaveLength(1)
    const wide = nodesOf(fused, "gather").filter(({ type }) => type.shape.length === 5)
    expect(wide).toHaveLength(2)
  })

  it("refuses sizes that are not numbers", () => {
    const { give, apply } = prepared()
    const key = give(
      bound(
        "f64",
        build([P, R, 2, 4], () => 0)
      )
    )
    const own = give(bound("i32", dense([1, 3], [0, 1, 2])))
    const length = give(bound("i32", dense([], [0])))
    const query = give(
      bound(
        "f64",
        build([1, 2, F], () => 0),
        [1, "T", F]
      )
    )
    expect(() => apply({ query, cache: { key, value: key, length, table: own } })).toThrow(
      /with pages the length of a call is a number, given T/
    )
  })
})
