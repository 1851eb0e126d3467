import { describe, expect, test } from "vitest"
import type * as Dim from "../../../ir/Dim.ts"
import * as Print from "../../../ir/Print.ts"
import { canonicalize } from "../../../passes/canonicalize.ts"
import { fuseAttention } from "../../../passes/fuseAttention.ts"
import { normalizeMask } from "../../../passes/normalizeMask.ts"
import { normalizeSoftmax } from "../../../passes/normalizeSoftmax.ts"
import { unexpandHeads } from "../../../passes/unexpandHeads.ts"
import { expectSameValue, nodesOf, through } from "../../support/fusing.ts"
import type { N } from "../../support/spell.ts"
import * as s from "../../support/spell.ts"

const sizes: Dim.Bindings = { B: 2, T: 3, S: 5 }
const front = [canonicalize, normalizeSoftmax, normalizeMask, unexpandHeads, fuseAttention]
const q = s.input("q", ["B", 4, "T", 8])
const k = s.input("k", ["B", 4, "S", 8])
const v = s.input("v", ["B", 4, "S", 8])
const k2 = s.input("k2", ["B", 4, "S", 8])
const square = (name: string) => s.input(name, ["B", 4, 6, 6])
const scores = s.matmul(q, s.swap(k))
const p = s.softmax(scores)
const even = s.matmul(square("q"), s.swap(square("k")))
const sumsOfRows = s.swap(s.reduce("reduce_sum", s.exp(even)))
const gate = s.input("gate", ["T", "S"])

/** Nothing that looks like attention and is not may be fused: the graph stays, and the reason is given. */
describe("refused, with the reason", () => {
  const misses: { readonly [name: string]: readonly [N, string] } = {
    "softmax over the queries": [s.matmul(s.softmax(scores, 2), v), "the softmax normalises axis 2"],
    "softmax over the heads": [s.matmul(s.softmax(scores, 1), v), "the softmax normalises axis 1"],
    "softmax over the batch": [s.matmul(s.softmax(scores, 0), v), "the softmax normalises axis 0"],
    "weights transposed": [
      s.matmul(s.swap(s.softmax(s.matmul(square("q"), s.swap(square("k"))))), square("v")),
      "the softmax normalises axis 3"
    ],
    "weights contracted over the queries": [
      s.einsum("bhts,bhtd->bhsd", p, q),
      "the softmax normalises axis 3"
    ],
    "weights squared": [s.matmul(s.mul(p, p), v), "multiplied by themselves"],
    "weights through a power": [s.matmul(s.op("sqrt", p), v), "`sqrt`"],
    "weights with a term added": [s.matmul(s.add(p, s.constant(0.1)), v), "a term is added to the weights"],
    "weights clipped": [s.matmul(s.op("max", p, s.constant(0.01)), v), "`max`"],
    "mask after the softmax with a fill of its own": [
      s.matmul(s.select(s.input("keep", ["T", "S"], "bool"), p, s.constant(-1e9)), v),
      "replaced by a number that is not 0"
    ],
    "weights that choose": [
      s.matmul(s.select(s.op("gt", p, s.constant(0.1)), p, s.constant(0)), v),
      "choose between values"
    ],
    "a guard against NaN of what the weights are multiplied by": [
      s.matmul(s.select(s.op("is_nan", s.mul(p, gate)), s.constant(0), s.mul(p, gate)), v),
      "choose between values"
    ],
    "two softmaxes combined": [
      s.matmul(s.sub(p, s.softmax(s.matmul(q, s.swap(k2)))), v),
      "2 softmax results are combined"
    ],
    "two different keys": [
      s.matmul(s.softmax(s.mul(scores, s.matmul(q, s.swap(k2)))), v),
      "the scores combine two contractions"
    ],
    "scores and their transpose": [
      s.matmul(
        s.softmax(
          s.add(
            s.matmul(square("q"), s.swap(square("k"))),
            s.swap(s.matmul(square("q"), s.swap(square("k"))))
          )
        ),
        square("v")
      ),
      "the scores combine"
    ],
    "scores without a contraction": [
      s.matmul(s.softmax(s.input("scores", ["B", 4, "T", "S"])), v),
      "no contraction of queries with keys"
    ],
    "scores from queries alone": [
      s.matmul(
        s.softmax(
          s.add(
            s.input("bias", ["T", "S"]),
            s.reshape(s.einsum("bhtd,bhd->bht", q, s.input("u", ["B", 4, 8])), ["B", 4, "T", 1])
          )
        ),
        v
      ),
      "no contraction of queries with keys"
    ],
    "keys for each query": [
      s.matmul(s.softmax(s.einsum("bhtd,bhtsd->bhts", q, s.input("keys", ["B", 4, "T", "S", 8]))), v),
      "depend on the query index"
    ],
    "queries that know the key": [
      s.matmul(s.softmax(s.einsum("bhtsd,bhsd->bhts", s.input("queries", ["B", 4, "T", "S", 8]), k)), v),
      "both operands of the contraction depend on the key index"
    ],
    "scores changed by their own mean": [
      s.matmul(s.softmax(s.mul(scores, s.reduce("reduce_sum", scores))), v),
      "computed from the scores themselves"
    ],
    "scores in units of their own maximum": [
      s.matmul(s.softmax(s.div(scores, s.reduce("reduce_max", scores))), v),
      "computed from the scores themselves"
    ],
    "values for half of the keys": [
      s.matmul(
        s.slice(
          s.softmax(
            s.matmul(q, s.swap(s.input("k", ["B", 4, s.Dim.mul(s.Dim.from(2), s.Dim.from("S")), 8])))
          ),
          3,
          0,
          "S"
        ),
        v
      ),
      "the softmax runs over 2*S columns and the values over S"
    ],
    "a mask whose length is a number and the keys' a symbol": [
      s.matmul(s.softmax(s.add(scores, s.input("bias", ["T", 5]))), v),
      "axis 2 of the keys (input of f32[B, 4, S, 8]) has length S, but the softmax runs over 5 keys"
    ],
    "a mask for another number of queries": [
      s.matmul(s.softmax(s.add(scores, s.input("bias", [3, "S"]))), v),
      "of the queries (input of f32[B, 4, T, 8]) has length T, but the scores count 3 there"
    ],
    "exp over the sum of all heads": [
      s.matmul(s.div(s.exp(scores), s.reduce("reduce_sum", s.exp(scores), 1, 3)), v),
      "the sum is over axes 1, 3 of f32[B, 4, T, S]"
    ],
    "exp over a sum that is divided along the keys": [
      s.matmul(s.div(s.exp(even), s.op("add", sumsOfRows, s.constant(1e-9))), square("v")),
      "the sum is over axis 3 of f32[B, 4, 6, 6] and divides as f32[B, 4, 1, 6]"
    ],
    "integers contracted": [
      s.matmul(
        s.softmax(
          s.cast(
            s.matmul(s.input("q", ["B", 4, "T", 8], "i32"), s.swap(s.input("k", ["B", 4, "S", 8], "i32"))),
            "f32"
          )
        ),
        v
      ),
      "the logits are i32"
    ]
  }
  for (const [name, [out, reason]] of Object.entries(misses)) {
    test(name, () => {
      const before = s.graph(out)
      const { graph, diagnostics } = through(before, ...front)
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
    const { graph } = through(before, ...front)
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
    const { graph } = through(before, ...front)
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
      const { graph } = through(before, ...front)
      expect(nodesOf(graph, "flash_attention").length).toBe(1)
      expectSameValue(before, graph, {})
    })
  }
})

/** A refusal claims only what is known: nothing says that this is attention. */
test("a quotient of exponentials that no contraction makes", () => {
  const x = s.exp(square("x"))
  const out = s.matmul(s.div(x, s.swap(s.reduce("reduce_sum", x))), square("v"))
  expect(through(s.graph(out), ...front).diagnostics).toEqual([])
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
      const { graph, diagnostics } = through(before, ...front)
      expect(nodesOf(graph, "flash_attention").length).toBe(fused)
      expectSameValue(before, graph, { D: 5 })
      if (fused === 1) return
      const [said] = diagnostics.filter((d) => d.outcome === "refused")
      expect(said?.failed).toContain("kernels take numbers from 1 to 256")
    })
  }
})
