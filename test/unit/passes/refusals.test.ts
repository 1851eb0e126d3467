import { describe, expect, test } from "vitest"
import { limits as wasm } from "../../../backends/wasm/limits.ts"
import type * as Dim from "../../../ir/Dim.ts"
import * as Print from "../../../ir/Print.ts"
import { fuseAttention } from "../../../passes/fuseAttention.ts"
import { expectSameValue, nodesOf, through, toFusion } from "../../support/fusing.ts"
import { k, p, q, scores, sizes, square, v } from "../../support/heads.ts"
import type { N } from "../../support/spell.ts"
import * as s from "../../support/spell.ts"

/** Near-misses stand in `nearMisses/`; these are refused for their lengths. */
describe("lengths that may differ", () => {
  const misses: { readonly [name: string]: readonly [N, string] } = {
    "a mask whose length is a number and the keys' a symbol": [
      s.matmul(s.softmax(s.add(scores, s.input("bias", ["T", 5]))), v),
      "axis 2 of the keys (input of f32[B, 4, S, 8]) has length S, but the softmax runs over 5 keys"
    ],
    "a mask for another number of queries": [
      s.matmul(s.softmax(s.add(scores, s.input("bias", [3, "S"]))), v),
      "of the queries (input of f32[B, 4, T, 8]) has length T, but the scores count 3 there"
    ],
    "keys and values, one length a number": [
      s.matmul(s.softmax(s.matmul(q, s.swap(s.input("k", ["B", 4, 5, 8])))), v),
      "axis 2 of the values (input of f32[B, 4, S, 8]) has length S, but the softmax runs over 5 keys"
    ]
  }
  for (const [name, [out, reason]] of Object.entries(misses)) {
    test(name, () => {
      const before = s.graph(out)
      const { graph, diagnostics } = through(before, ...toFusion)
      expect(nodesOf(graph, "flash_attention"), Print.graph(graph)).toEqual([])
      expect(diagnostics.map((d) => d.outcome)).toEqual(["refused"])
      expect(diagnostics[0]?.failed).toContain(reason)
      expect(diagnostics[0]?.suggestion).not.toBe("")
      expectSameValue(before, graph, sizes)
    })
  }
})

/** What other compilers get wrong by looking at shapes: here it fuses to what was written, or not at all. */
describe("easily mistaken", () => {
  const same = (out: N, at: Dim.Bindings = sizes) => {
    const before = s.graph(out)
    const { graph } = through(before, ...toFusion)
    expectSameValue(before, graph, at)
    return graph
  }
  const sq = { q: square("q"), k: square("k"), v: square("v") }
  test("keys not transposed where shapes allow it", () =>
    void same(s.matmul(s.softmax(s.matmul(sq.q, sq.k)), sq.v)))
  test("keys with batch and length exchanged", () => {
    const x = s.input("x", [4, 4, 4, 8])
    same(s.matmul(s.softmax(s.matmul(x, s.swap(s.permute(x, 2, 1, 0, 3)))), x))
    same(s.matmul(s.softmax(s.matmul(x, s.permute(x, 0, 2, 3, 1))), x))
    same(s.matmul(s.softmax(s.matmul(x, s.swap(x))), s.permute(x, 2, 1, 0, 3)))
  })
  test("queries and keys exchanged", () =>
    void same(s.matmul(s.softmax(s.swap(s.matmul(sq.q, s.swap(sq.k)))), sq.v)))
  test("contiguous keys, interleaved values", () => {
    const [a, b] = [s.input("a", ["B", 2, "S", 8]), s.input("b", ["B", 2, "S", 8])]
    same(s.matmul(s.softmax(s.matmul(q, s.swap(s.repeatHeads(a, 2)))), s.concat(1, b, b)))
  })
  test("heads gathered in no order", () => {
    const order = s.constants([1, 0, 0, 1])
    const [a, b] = [s.input("a", ["B", 2, "S", 8]), s.input("b", ["B", 2, "S", 8])]
    same(s.matmul(s.softmax(s.matmul(q, s.swap(s.gather(a, order, 1)))), s.gather(b, order, 1)))
  })
  test("a scale that depends on the contracted feature stays with the keys", () => {
    const graph = same(s.matmul(s.softmax(s.matmul(q, s.swap(s.mul(k, s.input("gain", [8]))))), v))
    expect(nodesOf(graph, "flash_attention").length).toBe(1)
    expect(nodesOf(graph, "mul").length).toBe(1)
  })
  test("a mask after the softmax weighs, it does not normalise", () => {
    const graph = same(s.matmul(s.select(s.input("keep", ["T", "S"], "bool"), p, s.constant(0)), v))
    const [node] = nodesOf(graph, "flash_attention")
    expect([node?.attrs.mask, node?.attrs.probability === undefined]).toEqual([undefined, false])
  })
  test("a finite fill is never -inf: rows without keys give the mean of the values", () => {
    const drop = s.op("ge", s.reshape(s.iota("T"), ["T", 1]), s.iota("S"))
    const graph = same(s.matmul(s.softmax(s.select(drop, s.constant(-1e9), scores)), v), { B: 1, T: 7, S: 3 })
    expect(nodesOf(graph, "flash_attention")[0]?.attrs.fill).toBe(-1e9)
  })
  test("values of one batch for all", () =>
    void same(s.einsum("bhts,hsd->bhtd", p, s.input("shared", [4, "S", 8]))))
  test("a negative factor on masked scores", () => {
    const causal = s.op("ge", s.reshape(s.iota("T"), ["T", 1]), s.iota("S"))
    same(s.matmul(s.softmax(s.op("neg", s.select(causal, scores, s.constant(Infinity)))), v))
  })
})

describe("lengths", () => {
  const attend = (at: Dim.Bindings) => {
    const causal = s.op("ge", s.reshape(s.iota("T"), ["T", 1]), s.iota("S"))
    const before = s.graph(s.matmul(s.softmax(s.select(causal, scores, s.constant(-Infinity))), v))
    const { graph } = through(before, ...toFusion)
    expect(nodesOf(graph, "flash_attention").length).toBe(1)
    expectSameValue(before, graph, at)
  }
  for (const [T, S] of [
    [1, 1],
    [1, 7],
    [7, 1],
    [0, 3],
    [3, 0],
    [2, 13]
  ] as const) {
    test(`T = ${T}, S = ${S}`, () => attend({ B: 2, T, S }))
  }
  for (const [B, H, T, S, D, E] of [
    [1, 4, 1, 5, 8, 8],
    [1, 1, 3, 5, 1, 2],
    [2, 1, 1, 4, 3, 1],
    [1, 1, 1, 2, 1, 1],
    [2, 4, 3, 1, 8, 8],
    [1, 2, 1, 1, 4, 4],
    [1, 1, 1, 1, 1, 1]
  ] as const) {
    test(`constant sizes ${[B, H, T, S, D, E].join(", ")}`, () => {
      const before = s.graph(
        s.matmul(
          s.softmax(s.matmul(s.input("q", [B, H, T, D]), s.swap(s.input("k", [B, H, S, D])))),
          s.input("v", [B, H, S, E])
        )
      )
      const { graph } = through(before, ...toFusion)
      expect(nodesOf(graph, "flash_attention").length).toBe(1)
      expectSameValue(before, graph, {})
    })
  }
})

/** A refusal claims only what is known: nothing says that this is attention. */
test("a quotient of exponentials that no contraction makes", () => {
  const x = s.exp(square("x"))
  const out = s.matmul(s.div(x, s.swap(s.reduce("reduce_sum", x))), square("v"))
  expect(through(s.graph(out), ...toFusion).diagnostics).toEqual([])
})

/** Kernels lay out their tiles by the head size: attention that none of them takes stays in parts that run everywhere. */
describe("head sizes that no kernel takes", () => {
  const headed = (D: Dim.DimLike, E: Dim.DimLike) =>
    s.graph(
      s.matmul(
        s.softmax(s.matmul(s.input("q", [1, 2, 3, D]), s.swap(s.input("k", [1, 2, 3, D])))),
        s.input("v", [1, 2, 3, E])
      )
    )
  for (const [D, E, fused] of [
    [256, 256, 1],
    ["D", 8, 0],
    [8, "D", 0],
    [257, 8, 0],
    [8, 257, 0],
    [0, 2, 0],
    [2, 0, 0]
  ] as const) {
    test(`${D} and ${E}`, () => {
      const before = headed(D, E)
      const { graph, diagnostics } = through(before, ...toFusion)
      expect(nodesOf(graph, "flash_attention").length).toBe(fused)
      expectSameValue(before, graph, { D: 5 })
      if (fused === 1) return
      const [said] = diagnostics.filter((d) => d.outcome === "refused")
      expect(said?.failed).toContain("kernels of WebGPU take numbers from 1 to 256")
    })
  }

  test("kernels that cut their work themselves take any number", () => {
    const fused = (D: Dim.DimLike, E: Dim.DimLike): number => {
      const before = through(headed(D, E), ...toFusion.slice(0, -1)).graph
      const { graph } = fuseAttention.run(before, { limits: wasm, donated: new Set(), count: () => {} })
      return nodesOf(graph, "flash_attention").length
    }
    expect([fused(257, 600), fused("D", 8), fused(8, 0)]).toEqual([1, 0, 0])
  })
})
