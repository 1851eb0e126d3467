import { describe, expect, test } from "vitest"
import type * as Dim from "../../../ir/Dim.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as Print from "../../../ir/Print.ts"
import { canonicalize } from "../../../passes/canonicalize.ts"
import { fuseAttention } from "../../../passes/fuseAttention.ts"
import { normalizeMask } from "../../../passes/normalizeMask.ts"
import { normalizeSoftmax } from "../../../passes/normalizeSoftmax.ts"
import { unexpandHeads } from "../../../passes/unexpandHeads.ts"
import { unfuseAttention } from "../../../passes/unfuseAttention.ts"
import { expectSameValue, isViewOfInput, nodesOf, through } from "../../support/fusing.ts"
import type { N } from "../../support/spell.ts"
import * as s from "../../support/spell.ts"

const sizes: Dim.Bindings = { B: 2, T: 3, S: 5 }

/** Exactly one attention node, no softmax and no contraction left, keys and values as the inputs hold them, and the same value. */
const fuses = (out: N, at: Dim.Bindings = sizes, inputs?: ReadonlyArray<HostArray>) => {
  const before = s.graph(out)
  const { graph, diagnostics } = through(before, fuseAttention)
  expect(
    diagnostics.map((d) => d.failed ?? d.outcome),
    Print.graph(graph)
  ).toEqual(["fused"])
  const nodes = nodesOf(graph, "flash_attention")
  expect(nodes.length).toBe(1)
  expect([...nodesOf(graph, "softmax"), ...nodesOf(graph, "dot")]).toEqual([])
  const node = nodes[0] as (typeof nodes)[number]
  for (const operand of node.operands.slice(0, 3))
    expect(isViewOfInput(operand), Print.graph(graph)).toBe(true)
  expectSameValue(before, graph, at, inputs)
  // The passes before fusion neither help nor hinder.
  const whole = through(before, canonicalize, normalizeSoftmax, normalizeMask, unexpandHeads, fuseAttention)
  expect(
    whole.diagnostics.map((d) => d.failed ?? d.outcome),
    Print.graph(whole.graph)
  ).toEqual(["fused"])
  expectSameValue(before, whole.graph, at, inputs)
  for (const n of nodesOf(whole.graph, "flash_attention")) {
    for (const operand of n.operands.slice(0, 3))
      expect(isViewOfInput(operand), Print.graph(whole.graph)).toBe(true)
  }
  const again = through(graph, unfuseAttention).graph
  expect(nodesOf(again, "flash_attention")).toEqual([])
  expectSameValue(before, again, at, inputs)
  // What the definition spells out is attention again.
  expect(nodesOf(through(again, fuseAttention).graph, "flash_attention").length).toBe(1)
  return { graph, node }
}

const q = s.input("q", ["B", 4, "T", 8])
const k = s.input("k", ["B", 4, "S", 8])
const v = s.input("v", ["B", 4, "S", 8])
const k2 = s.input("k", ["B", 2, "S", 8])
const v2 = s.input("v", ["B", 2, "S", 8])
const scale = s.constant(0.25)
const half = s.constant(0.5)
const minusInfinity = s.constant(-Infinity)
const causal = s.op("ge", s.reshape(s.iota("T"), ["T", 1]), s.reshape(s.iota("S"), [1, "S"]))
const scores = s.matmul(q, s.swap(k))

describe("scale", () => {
  const on = {
    none: s.matmul(q, s.swap(k)),
    "q * s": s.matmul(s.mul(q, scale), s.swap(k)),
    "s * q": s.matmul(s.mul(scale, q), s.swap(k)),
    "q / s": s.matmul(s.div(q, s.constant(4)), s.swap(k)),
    "k * s": s.matmul(q, s.swap(s.mul(k, scale))),
    "kT * s": s.matmul(q, s.mul(s.swap(k), scale)),
    both: s.matmul(s.mul(q, half), s.mul(s.swap(k), half)),
    "scores * s": s.mul(scores, scale),
    "scores / s": s.div(scores, s.constant(4)),
    "a runtime scalar": s.mul(scores, s.input("scale", [])),
    "a scalar of shape [1, 1, 1, 1]": s.matmul(s.mul(q, s.input("scale", [1, 1, 1, 1])), s.swap(k)),
    "square root of a length": s.div(scores, s.op("sqrt", s.cast(s.constant(8, "i32"), "f32")))
  }
  for (const [name, x] of Object.entries(on)) test(name, () => void fuses(s.matmul(s.softmax(x), v)))
})

describe("transposed keys and layouts", () => {
  const bshd = {
    q: s.input("q", ["B", "T", 4, 8]),
    k: s.input("k", ["B", "S", 4, 8]),
    v: s.input("v", ["B", "S", 4, 8])
  }
  const out = {
    swap: s.matmul(s.softmax(scores), v),
    permute: s.matmul(s.softmax(s.matmul(q, s.permute(k, 0, 1, 3, 2))), v),
    "permute straight from BSHD": s.permute(
      s.matmul(
        s.softmax(s.matmul(s.permute(bshd.q, 0, 2, 1, 3), s.permute(bshd.k, 0, 2, 3, 1))),
        s.permute(bshd.v, 0, 2, 1, 3)
      ),
      0,
      2,
      1,
      3
    ),
    "einsum over BSHD": s.einsum(
      "bhqk,bkhd->bqhd",
      s.softmax(s.einsum("bqhd,bkhd->bhqk", bshd.q, bshd.k)),
      bshd.v
    ),
    "einsum, keys first": s.einsum(
      "bkhd,bhqk->bqhd",
      bshd.v,
      s.softmax(s.einsum("bkhd,bqhd->bhqk", bshd.k, bshd.q))
    ),
    "einsum with heads last": s.einsum(
      "bqkh,bkhd->bqhd",
      s.softmax(s.einsum("bqhd,bkhd->bqkh", bshd.q, bshd.k), 2),
      bshd.v
    ),
    "(K Qᵀ)ᵀ": s.matmul(s.softmax(s.swap(s.matmul(k, s.swap(q)))), v),
    "softmax over rows of K Qᵀ": s.einsum("bhkq,bhkd->bhqd", s.softmax(s.matmul(k, s.swap(q)), 2), v),
    "3-D": s.matmul(
      s.softmax(s.matmul(s.input("q", ["N", "T", 8]), s.swap(s.input("k", ["N", "S", 8])))),
      s.input("v", ["N", "S", 8])
    ),
    "2-D": s.matmul(
      s.softmax(s.matmul(s.input("q", ["T", 8]), s.swap(s.input("k", ["S", 8])))),
      s.input("v", ["S", 8])
    ),
    "(B·H, S, D) from BHSD": s.reshape(
      s.matmul(
        s.softmax(s.matmul(s.reshape(q, ["N", "T", 8]), s.swap(s.reshape(k, ["N", "S", 8])))),
        s.reshape(v, ["N", "S", 8])
      ),
      ["B", 4, "T", 8]
    ),
    "SBHD (T, B·H, D)": s.einsum(
      "nqk,knd->qnd",
      s.softmax(s.einsum("qnd,knd->nqk", s.input("q", ["T", 8, 8]), s.input("k", ["S", 8, 8]))),
      s.input("v", ["S", 8, 8])
    ),
    "heads split from features": s.reshape(
      s.permute(
        s.matmul(
          s.softmax(
            s.matmul(
              s.permute(s.reshape(s.input("q", ["B", "T", 32]), ["B", "T", 4, 8]), 0, 2, 1, 3),
              s.permute(s.reshape(s.input("k", ["B", "S", 32]), ["B", "S", 4, 8]), 0, 2, 3, 1)
            )
          ),
          s.permute(s.reshape(s.input("v", ["B", "S", 32]), ["B", "S", 4, 8]), 0, 2, 1, 3)
        ),
        0,
        2,
        1,
        3
      ),
      ["B", "T", 32]
    ),
    "scores reshaped between": s.matmul(
      s.reshape(s.softmax(s.reshape(scores, ["B", 2, 2, "T", "S"])), ["B", 4, "T", "S"]),
      v
    ),
    "no query length": s.einsum(
      "bhk,bhkd->bhd",
      s.softmax(s.einsum("bhd,bhkd->bhk", s.input("q", ["B", 4, 8]), k)),
      v
    ),
    "other value size": s.matmul(s.softmax(scores), s.input("v", ["B", 4, "S", 3]))
  }
  for (const [name, x] of Object.entries(out)) test(name, () => void fuses(x, { ...sizes, N: 8 }))
})

describe("expanded heads", () => {
  const attend = (wideK: N, wideV: N) => s.matmul(s.softmax(s.matmul(q, s.swap(wideK))), wideV)
  const slices = (x: N) => s.concat(1, ...[0, 0, 1, 1].map((h) => s.slice(x, 1, h, h + 1)))
  const pairs = (x: N) =>
    s.reshape(s.concat(2, ...[0, 1].map(() => s.reshape(x, ["B", 2, 1, "S", 8]))), ["B", 4, "S", 8])
  const computed = s.op("floor_div", s.iota(4), s.constant(2, "i32"))
  const qg = s.reshape(q, ["B", 2, 2, "T", 8])
  const ways = {
    "broadcast and reshape": attend(s.repeatHeads(k2, 2), s.repeatHeads(v2, 2)),
    "keys transposed before": s.matmul(
      s.softmax(
        s.matmul(
          q,
          s.reshape(s.broadcast(s.reshape(s.swap(k2), ["B", 2, 1, 8, "S"]), ["B", 2, 2, 8, "S"]), [
            "B",
            4,
            8,
            "S"
          ])
        )
      ),
      s.repeatHeads(v2, 2)
    ),
    "concat of slices": attend(slices(k2), slices(v2)),
    "concat on a new axis": attend(pairs(k2), pairs(v2)),
    "gather at constants": attend(
      s.gather(k2, s.constants([0, 0, 1, 1]), 1),
      s.gather(v2, s.constants([0, 0, 1, 1]), 1)
    ),
    "gather at computed heads": attend(s.gather(k2, computed, 1), s.gather(v2, computed, 1)),
    "grouped einsum": s.reshape(
      s.einsum("bkgts,bksd->bkgtd", s.softmax(s.einsum("bkgtd,bksd->bkgts", qg, k2)), v2),
      ["B", 4, "T", 8]
    ),
    "grouped matmul over a size-1 axis": s.reshape(
      s.matmul(
        s.softmax(s.matmul(qg, s.swap(s.broadcast(s.reshape(k2, ["B", 2, 1, "S", 8]), ["B", 2, 2, "S", 8])))),
        s.broadcast(s.reshape(v2, ["B", 2, 1, "S", 8]), ["B", 2, 2, "S", 8])
      ),
      ["B", 4, "T", 8]
    ),
    "grouped scores, expanded values": s.matmul(
      s.reshape(s.softmax(s.einsum("bkgtd,bksd->bkgts", qg, k2)), ["B", 4, "T", "S"]),
      s.repeatHeads(v2, 2)
    ),
    "one key head for all": s.einsum(
      "bhts,bsd->bhtd",
      s.softmax(s.einsum("bhtd,bsd->bhts", q, s.input("k", ["B", "S", 8]))),
      s.input("v", ["B", "S", 8])
    ),
    "one key head for all, heads after queries": s.einsum(
      "bths,bsd->bthd",
      s.softmax(s.einsum("bthd,bsd->bths", s.input("q", ["B", "T", 4, 8]), s.input("k", ["B", "S", 8]))),
      s.input("v", ["B", "S", 8])
    ),
    "interleaved heads, by the order they are in": attend(s.concat(1, k2, k2), s.concat(1, v2, v2))
  }
  for (const [name, x] of Object.entries(ways)) {
    test(name, () => {
      const { node } = fuses(x)
      const [B, Hkv] = (node.operands[1] as N).type.shape
      expect([B?.key, Hkv?.key]).toEqual(name.startsWith("one key") ? ["B", "1"] : ["B", "2"])
    })
  }
})

describe("masks and scores", () => {
  const scaled = s.mul(scores, scale)
  const attend = (x: N) => s.matmul(s.softmax(x), v)
  const keep = s.input("keep", ["B", 1, "T", "S"], "bool")
  const padding = s.reshape(s.input("padding", ["B", "S"], "bool"), ["B", 1, 1, "S"])
  const lengths = s.op(
    "lt",
    s.reshape(s.iota("S"), [1, 1, 1, "S"]),
    s.reshape(s.input("lengths", ["B"], "i32"), ["B", 1, 1, 1])
  )
  const window = s.op("lt", s.sub(s.reshape(s.iota("T"), ["T", 1]), s.iota("S")), s.constant(2, "i32"))
  const bias = s.input("bias", [4, "T", "S"])
  const slopes = s.reshape(s.input("slopes", [4]), [4, 1, 1])
  const distance = s.cast(s.sub(s.iota("S"), s.reshape(s.iota("T"), ["T", 1])), "f32")
  const segments = s.input("segments", ["B", "T"], "i32")
  const softcap = (x: N) => s.mul(s.op("tanh", s.div(x, s.constant(2))), s.constant(2))
  const float = (x: N) => s.cast(x, "f32")
  const one = s.constant(1)
  const masked: { readonly [name: string]: readonly [N, "mask" | "fill" | "score"] } = {
    "where keep": [s.select(keep, scaled, minusInfinity), "mask"],
    "where drop": [s.select(s.op("not", causal), minusInfinity, scaled), "mask"],
    "causal before the scale": [s.mul(s.select(causal, scores, minusInfinity), scale), "mask"],
    "causal and window": [s.select(s.op("and", causal, window), scaled, minusInfinity), "mask"],
    "two in a row": [s.select(padding, s.select(causal, scaled, minusInfinity), minusInfinity), "mask"],
    lengths: [s.select(lengths, scaled, minusInfinity), "mask"],
    segments: [
      s.select(
        s.op(
          "eq",
          s.reshape(segments, ["B", 1, "T", 1]),
          s.reshape(s.input("segments of keys", ["B", "S"], "i32"), ["B", 1, 1, "S"])
        ),
        scaled,
        minusInfinity
      ),
      "mask"
    ],
    "additive -inf": [s.add(scaled, s.select(causal, s.constant(0), minusInfinity)), "mask"],
    "additive -inf first": [s.add(s.select(causal, s.constant(0), minusInfinity), scaled), "mask"],
    "log of a mask": [s.add(scaled, s.op("log", float(keep))), "mask"],
    "additive tensor": [s.add(scaled, s.input("mask", ["B", 1, "T", "S"])), "mask"],
    "finite fill": [s.select(causal, scaled, s.constant(-1e9)), "fill"],
    "finite fill of what is dropped": [s.select(s.op("not", keep), s.constant(-3e4), scaled), "fill"],
    "finite fill, then -inf": [
      s.select(causal, s.select(padding, scaled, s.constant(-1e9)), minusInfinity),
      "mask"
    ],
    "(1 - keep) * -1e9": [s.add(scaled, s.mul(s.sub(one, float(keep)), s.constant(-1e9))), "score"],
    "s - 1e9 * (1 - keep)": [s.sub(scaled, s.mul(s.constant(1e9), s.sub(one, float(keep)))), "score"],
    "padding from float 0 and 1": [
      s.select(s.op("ne", float(padding), s.constant(0)), scaled, minusInfinity),
      "mask"
    ],
    "minimum of a bias and a mask": [
      s.add(scaled, s.op("min", bias, s.select(causal, s.constant(9), minusInfinity))),
      "mask"
    ],
    "softcap after the mask": [softcap(s.select(causal, scaled, minusInfinity)), "score"],
    softcap: [softcap(scaled), "score"],
    ALiBi: [s.add(scaled, s.mul(slopes, distance)), "score"],
    "relative bias table": [
      s.add(
        scaled,
        s.gather(
          s.input("table", [4, 9]),
          s.add(
            s.op(
              "min",
              s.op("max", s.sub(s.iota("S"), s.reshape(s.iota("T"), ["T", 1])), s.constant(-4, "i32")),
              s.constant(4, "i32")
            ),
            s.constant(4, "i32")
          ),
          1
        )
      ),
      "mask"
    ],
    "causal through iota casts": [
      s.select(
        s.op("le", float(s.iota("S")), float(s.reshape(s.iota("T"), ["T", 1]))),
        scaled,
        minusInfinity
      ),
      "mask"
    ],
    "bottom-right causal": [
      s.select(
        s.op(
          "ge",
          s.add(
            s.reshape(s.iota("T"), ["T", 1]),
            s.cast(s.sub(s.input("offset", [], "i32"), s.constant(0, "i32")), "i32")
          ),
          s.iota("S")
        ),
        scaled,
        minusInfinity
      ),
      "mask"
    ],
    "per-key scale": [s.mul(scaled, s.reshape(s.input("temperature", ["S"]), [1, 1, 1, "S"])), "score"]
  }
  for (const [name, [x, where]] of Object.entries(masked)) {
    test(name, () => {
      const { node, graph } = fuses(attend(x))
      expect(
        { mask: node.attrs.mask !== undefined, fill: node.attrs.fill !== -Infinity },
        Print.graph(graph)
      ).toEqual({
        mask: where !== "score",
        fill: where === "fill"
      })
      const texts = [node.attrs.score, ...(node.attrs.mask ? [node.attrs.mask] : [])].map((r) =>
        Print.graph(r)
      )
      expect(texts.join("\n")).not.toContain("inf]")
    })
  }

  test("a float mask that holds -inf leaves no infinity to the score", () => {
    const { node } = fuses(attend(s.add(scaled, s.input("mask", ["T", "S"]))))
    expect(Print.graph(node.attrs.mask as never)).toContain("is_inf")
    expect(Print.graph(node.attrs.score)).toContain("select")
  })

  test("rows that are masked throughout give 0", () => {
    const before = s.graph(
      attend(s.select(s.op("lt", s.iota("S"), s.reshape(s.iota("T"), ["T", 1])), scaled, minusInfinity))
    )
    expectSameValue(before, through(before, fuseAttention).graph, sizes)
  })
})

describe("softmax and weights", () => {
  const f16 = {
    q: s.input("q", ["B", 4, "T", 8], "f16"),
    k: s.input("k", ["B", 4, "S", 8], "f16"),
    v: s.input("v", ["B", 4, "S", 8], "f16")
  }
  const dropped = s.select(s.input("kept", ["B", 4, "T", "S"], "bool"), s.softmax(scores), s.constant(0))
  const ways = {
    "f32 casts around": s.matmul(
      s.cast(s.softmax(s.cast(s.matmul(f16.q, s.swap(f16.k)), "f32")), "f16"),
      f16.v
    ),
    "f32 casts of the operands": s.cast(
      s.matmul(s.softmax(s.matmul(s.cast(f16.q, "f32"), s.swap(s.cast(f16.k, "f32")))), s.cast(f16.v, "f32")),
      "f16"
    ),
    "a mask cast to f16": s.matmul(
      s.softmax(s.add(s.matmul(f16.q, s.swap(f16.k)), s.cast(s.input("mask", ["T", "S"]), "f16"))),
      f16.v
    ),
    "dropout by select": s.matmul(s.mul(dropped, s.constant(1.25)), v),
    "dropout by product": s.matmul(s.mul(s.softmax(scores), s.input("kept", ["B", 4, "T", "S"])), v),
    "a gate for each row": s.matmul(s.mul(s.softmax(scores), s.input("gate", [4, "T", 1])), v),
    "NaN replaced": s.matmul(
      s.select(s.op("is_nan", s.softmax(scores)), s.constant(0), s.softmax(scores)),
      v
    ),
    "scaled values": s.matmul(s.softmax(scores), s.mul(v, s.constant(3))),
    "negated weights": s.matmul(s.op("neg", s.softmax(scores)), v),
    "weights as the second operand": s.einsum("bhsd,bhts->bhtd", v, s.softmax(scores)),
    "scores with a constant column": s.matmul(
      s.slice(s.softmax(s.concat(3, scores, s.broadcast(s.constant(0), ["B", 4, "T", 1]))), 3, 0, "S"),
      v
    ),
    sinks: s.matmul(
      s.slice(
        s.softmax(
          s.concat(
            3,
            s.select(causal, scores, minusInfinity),
            s.broadcast(s.reshape(s.input("sinks", [4]), [1, 4, 1, 1]), ["B", 4, "T", 1])
          )
        ),
        3,
        0,
        "S"
      ),
      v
    ),
    "sinks first, two of them": s.matmul(
      s.slice(
        s.softmax(
          s.concat(
            3,
            s.broadcast(s.reshape(s.input("sinks", [4, 2]), [1, 4, 1, 2]), ["B", 4, "T", 2]),
            scores
          )
        ),
        3,
        2,
        s.Dim.add(s.Dim.from("S"), s.Dim.from(2))
      ),
      v
    )
  }
  for (const [name, x] of Object.entries(ways)) test(name, () => void fuses(x))

  test("the log-sum-exp of the scores comes from the same attention", () => {
    const causalScores = s.select(causal, s.matmul(q, s.swap(s.repeatHeads(k2, 2))), minusInfinity)
    const out = s.permute(s.matmul(s.softmax(causalScores), s.repeatHeads(v2, 2)), 0, 2, 1, 3)
    const before = s.graph({ out, lse: s.logsumexp(causalScores) })
    const { graph, counts } = through(before, fuseAttention)
    expect(
      nodesOf(graph, "flash_attention")
        .map((n) => n.attrs.output)
        .sort()
    ).toEqual(["lse", "result"])
    expect([...nodesOf(graph, "dot"), ...nodesOf(graph, "logsumexp")]).toEqual([])
    expect(counts.get("sum-is-shared")).toBe(1)
    expectSameValue(before, graph, { ...sizes, S: 2 })
    expectSameValue(before, through(graph, unfuseAttention).graph, { ...sizes, S: 2 })
  })

  test("the log-sum-exp of other scores does not", () => {
    const before = s.graph({
      out: s.matmul(s.softmax(scores), v),
      lse: s.logsumexp(s.mul(scores, half)),
      other: s.logsumexp(scores, 2)
    })
    const { graph, counts } = through(before, fuseAttention)
    expect(counts.get("sum-is-shared")).toBe(undefined)
    expectSameValue(before, graph, sizes)
  })

  test("two layers", () => {
    const first = s.matmul(s.softmax(scores), v)
    const before = s.graph(s.matmul(s.softmax(s.matmul(first, s.swap(k))), s.add(v, v)))
    const { graph } = through(before, fuseAttention)
    expect(nodesOf(graph, "flash_attention").length).toBe(2)
    expectSameValue(before, graph, sizes)
  })
})
