import { describe, expect, test } from "vitest"
import type * as Dim from "../../../ir/Dim.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import { portable } from "../../../ir/Limits.ts"
import * as Node from "../../../ir/Node.ts"
import { parts } from "../../../ir/ops/flashAttention.ts"
import * as Print from "../../../ir/Print.ts"
import * as Shape from "../../../ir/Shape.ts"
import { canonicalize } from "../../../passes/canonicalize.ts"
import { fuseAttention } from "../../../passes/fuseAttention.ts"
import { fuseElementwise } from "../../../passes/fuseElementwise.ts"
import { normalizeMask } from "../../../passes/normalizeMask.ts"
import { normalizeSoftmax } from "../../../passes/normalizeSoftmax.ts"
import { unexpandHeads } from "../../../passes/unexpandHeads.ts"
import { unfuseAttention } from "../../../passes/unfuseAttention.ts"
import { expectSameValue, isViewOfInput, nodesOf, through } from "../../support/fusing.ts"
import type { N } from "../../support/spell.ts"
import * as s from "../../support/spell.ts"

/** Attention beyond one logit, one softmax and one result. */

type Outputs = N | { readonly [name: string]: N }
type Flash = Node.NodeOf<"flash_attention">

const lengths: ReadonlyArray<Dim.Bindings> = [
  { B: 2, T: 3, S: 5 },
  { B: 1, T: 4, S: 1 },
  { B: 2, T: 1, S: 7 },
  { B: 2, T: 3, S: 0 }
]

interface Expected {
  /** What each node is, in the order of the graph: `result`, `lse`, `max`, `none`; ×2 where it has two logits. */
  readonly nodes: ReadonlyArray<string>
  /** Tensors with an axis for queries and one for keys that kernels write, besides the outputs. 0 where nothing is said. */
  readonly inMemory?: number
  readonly sizes?: ReadonlyArray<Dim.Bindings>
  readonly inputs?: ReadonlyArray<HostArray>
}

const kindOf = ({ attrs }: Flash): string =>
  `${attrs.normaliser ?? attrs.output}${attrs.terms === undefined ? "" : ` x${attrs.terms}`}`

const front = [canonicalize, normalizeSoftmax, normalizeMask, unexpandHeads, fuseAttention]

/** Whether a tensor has an element for each pair of a query and a key. */
const isPairs = (node: N): boolean => {
  const names = node.type.shape.flatMap((d) => d.terms.flatMap((t) => t.symbols))
  return names.includes("T") && names.includes("S")
}

/** Compiles, and compares with what was written: as it is, and with the nodes written out again. */
const becomes = (outputs: Outputs, { nodes, inMemory = 0, sizes = lengths, inputs }: Expected) => {
  const before = s.graph(outputs)
  const { graph, diagnostics, counts } = through(before, ...front)
  const flashes = nodesOf(graph, "flash_attention")
  expect(flashes.map(kindOf).sort(), Print.graph(graph)).toEqual([...nodes].sort())
  for (const { operands, attrs } of flashes) {
    const own = parts(operands, attrs)
    // What the heads of a group share is seen by each of them where keys become queries.
    if (own.v.op === "broadcast") continue
    for (const { q, k } of own.terms)
      for (const x of [q, k]) expect(isViewOfInput(x), Print.graph(graph)).toBe(true)
  }
  const kernels = fuseElementwise.run(graph, { limits: portable, donated: new Set(), count: () => {} }).graph
  const ends = new Set(kernels.outputs.map((o) => o.node))
  expect(
    kernels.nodes.filter((n) => n.op === "fused" && isPairs(n) && !ends.has(n)).length,
    Print.graph(kernels)
  ).toBe(inMemory)
  const again = through(graph, unfuseAttention).graph
  for (const at of sizes) {
    expectSameValue(before, graph, at, inputs)
    expectSameValue(before, again, at, inputs)
  }
  return { graph, flashes, diagnostics, counts, kernels }
}

const q = s.input("q", ["B", 4, "T", 8])
const k = s.input("k", ["B", 4, "S", 8])
const v = s.input("v", ["B", 4, "S", 6])
const k2 = s.input("k", ["B", 2, "S", 8])
const v2 = s.input("v", ["B", 2, "S", 6])
const scale = s.constant(0.3)
const zero = s.constant(0)
const minusInfinity = s.constant(-Infinity)
const row = s.reshape(s.iota("T"), ["T", 1])
const causal = s.op("ge", row, s.iota("S"))
const late = s.op("ge", s.sub(row, s.constant(1, "i32")), s.iota("S"))
const scores = s.mul(s.matmul(q, s.swap(k)), scale)
const grouped = s.mul(s.matmul(q, s.swap(s.repeatHeads(k2, 2))), scale)
const float = (x: N) => s.cast(x, "f32")
const hide = (x: N, keep = causal) => s.select(keep, x, minusInfinity)

describe("several logits", () => {
  const qr = s.input("qr", ["B", 4, "T", 4])
  const kr = s.input("kr", ["B", "S", 4])
  const rope = s.einsum("bhtd,bsd->bhts", qr, kr)
  test("a part with one head for all (MLA)", () => {
    const { flashes } = becomes(
      s.matmul(s.softmax(hide(s.mul(s.add(s.matmul(q, s.swap(k)), rope), scale))), v),
      {
        nodes: ["result x2"]
      }
    )
    const { terms } = parts((flashes[0] as Flash).operands, (flashes[0] as Flash).attrs)
    expect(terms.map(({ k: x }) => Shape.print(x.type.shape))).toEqual(["[B, 4, S, 8]", "[B, 1, S, 4]"])
  })
  test("in either order, keys of one head expanded, one product over joined features", () => {
    const wide = s.broadcast(s.reshape(kr, ["B", 1, "S", 4]), ["B", 4, "S", 4])
    const { flashes } = becomes(
      s.matmul(s.softmax(s.add(s.matmul(qr, s.swap(wide)), s.matmul(q, s.swap(k)))), v),
      {
        nodes: ["result x2"]
      }
    )
    const { terms } = parts((flashes[0] as Flash).operands, (flashes[0] as Flash).attrs)
    expect(terms.map(({ k: x }) => Shape.print(x.type.shape))).toEqual(["[B, 4, S, 8]", "[B, 1, S, 4]"])
  })
  test("over grouped heads", () => {
    becomes(s.matmul(s.softmax(s.add(grouped, rope)), s.repeatHeads(v2, 2)), { nodes: ["result x2"] })
  })
  test("a bilinear bias, multiplied and capped", () => {
    const u = s.input("u", ["B", 4, "T", 3])
    const w = s.input("w", ["B", 4, "S", 3])
    const bias = s.op("sigmoid", s.matmul(u, s.swap(w)))
    becomes(s.matmul(s.softmax(s.mul(scores, bias)), v), { nodes: ["result x2"] })
  })
  test("three", () => {
    const kp = s.input("kp", [4, "S", 3])
    const positions = s.einsum("bhtd,hsd->bhts", s.input("qp", ["B", 4, "T", 3]), kp)
    becomes(s.matmul(s.softmax(s.add(s.add(scores, rope), positions)), v), { nodes: ["result x3"] })
  })
  test("factors of each on its own logit", () => {
    const half = s.constant(0.5)
    const two = s.einsum("bhtd,bsd->bhts", s.mul(qr, half), s.mul(kr, scale))
    becomes(s.matmul(s.softmax(s.add(s.matmul(s.mul(q, scale), s.swap(k)), two)), v), {
      nodes: ["result x2"]
    })
  })
  test("five: one is read from memory", () => {
    const more = ["a", "b", "c", "d"].map((name) =>
      s.matmul(s.input(`q${name}`, ["B", 4, "T", 2]), s.swap(s.input(`k${name}`, ["B", 4, "S", 2])))
    )
    becomes(s.matmul(s.softmax(more.reduce(s.add, scores)), v), { nodes: ["result x4"], inMemory: 1 })
  })
  test("keys for each query are read from memory (Shaw's relative keys)", () => {
    const relative = s.einsum("bhtd,tsd->bhts", q, s.input("r", ["T", "S", 8]))
    const { diagnostics } = becomes(s.matmul(s.softmax(s.add(scores, relative)), v), {
      nodes: ["result"],
      inMemory: 1
    })
    expect(diagnostics[0]?.into).toContain("from memory")
    expect(diagnostics[0]?.rules).toContain("contraction-is-read")
  })
  test("relative logits, skewed (Transformer-XL)", () => {
    const r = s.input("r", [4, "S", 8])
    const u = s.reshape(s.input("u", [4, 8]), [4, 1, 8])
    const w = s.reshape(s.input("w", [4, 8]), [4, 1, 8])
    const content = s.matmul(s.add(q, u), s.swap(k))
    const position = s.einsum("bhtd,hsd->bhts", s.add(q, w), r)
    const S = s.Dim.from("S")
    const [one, T] = [s.Dim.one, s.Dim.from("T")]
    const padded = s.concat(3, s.broadcast(zero, ["B", 4, "T", 1]), position)
    const shifted = s.reshape(
      s.slice(s.reshape(padded, ["B", 4, s.Dim.add(S, one), "T"]), 2, 1, s.Dim.add(S, one)),
      ["B", 4, T, S]
    )
    const before = s.graph(s.matmul(s.softmax(s.add(content, shifted)), v))
    const { graph } = through(before, ...front)
    expect(nodesOf(graph, "flash_attention").map(kindOf)).toEqual(["result"])
    for (const at of lengths) expectSameValue(before, graph, at)
  })
  test("heads of the latent that keys and values share are too wide (MLA, absorbed)", () => {
    const c = s.input("c", ["B", "S", 512])
    const before = s.graph(
      s.einsum(
        "bhts,bsd->bhtd",
        s.softmax(s.add(s.einsum("bhtd,bsd->bhts", s.input("ql", ["B", 4, "T", 512]), c), rope)),
        c
      )
    )
    const { graph, diagnostics } = through(before, ...front)
    expect(nodesOf(graph, "flash_attention")).toEqual([])
    expect(diagnostics.map((d) => d.failed)).toEqual([expect.stringContaining("head size is 512")])
  })
})

describe("several softmaxes", () => {
  const other = s.softmax(s.matmul(s.input("q2", ["B", 4, "T", 8]), s.swap(s.input("k2", ["B", 4, "S", 8]))))
  const lambda = s.input("lambda", [])
  test("less another, with one contraction (differential attention)", () => {
    becomes(s.matmul(s.sub(s.softmax(hide(scores)), s.mul(lambda, other)), v), {
      nodes: ["result", "result"]
    })
  })
  test("contracted one by one", () => {
    becomes(s.sub(s.matmul(s.softmax(scores), v), s.mul(lambda, s.matmul(other, v))), {
      nodes: ["result", "result"]
    })
  })
  test("a mean of two scales, where some rows have no key", () => {
    const sharp = s.softmax(hide(s.mul(scores, s.constant(2)), late))
    becomes(s.matmul(s.mul(s.constant(0.5), s.add(s.softmax(hide(scores, late)), sharp)), v), {
      nodes: ["result", "result"]
    })
  })
  test("one or the other by position", () => {
    becomes(s.matmul(s.select(causal, s.softmax(scores), other), v), { nodes: ["result", "result"] })
  })
  test("in f16, rounded once", () => {
    const half = (name: string, ...dims: ReadonlyArray<number | string>) => s.input(name, dims, "f16")
    const [a, b, c] = [half("q", "B", 2, "T", 8), half("k", "B", 2, "S", 8), half("v", "B", 2, "S", 8)]
    const first = s.softmax(s.matmul(a, s.swap(b)))
    const second = s.softmax(s.matmul(half("q2", "B", 2, "T", 8), s.swap(b)))
    const { flashes } = becomes(s.matmul(s.sub(first, second), c), { nodes: ["result", "result"] })
    expect(flashes.map((n) => n.attrs.dtype)).toEqual(["f32", "f32"])
  })
  test("five stay", () => {
    const all = ["a", "b", "c", "d"].map((n) => s.softmax(s.matmul(s.input(n, ["B", 4, "T", 8]), s.swap(k))))
    const { graph, diagnostics } = through(
      s.graph(s.matmul(all.reduce(s.add, s.softmax(scores)), v)),
      ...front
    )
    expect(nodesOf(graph, "flash_attention")).toEqual([])
    expect(diagnostics.map((d) => d.failed)).toEqual([
      expect.stringContaining("5 softmax results are combined")
    ])
  })
})

describe("several value streams", () => {
  test("two contractions of the same weights, joined", () => {
    const points = s.input("points", ["B", 4, "S", 12])
    const p = s.softmax(hide(scores))
    becomes(s.concat(3, s.matmul(p, v), s.matmul(p, points)), { nodes: ["result", "result"] })
  })
})

describe("no softmax", () => {
  const sigmoid = (x: N) => s.op("sigmoid", x)
  const relu = (x: N) => s.op("max", x, zero)
  const keep = s.input("keep", ["B", 1, "T", "S"], "bool")
  const visible: { readonly [name: string]: readonly [N, boolean] } = {
    sigmoid: [sigmoid(scores), false],
    "sigmoid with a bias": [sigmoid(s.add(scores, s.input("bias", [4, "T", "S"]))), true],
    relu: [relu(scores), false],
    "relu, squared": [s.mul(relu(scores), relu(scores)), false],
    "sigmoid of masked scores": [sigmoid(hide(scores)), true],
    "relu of masked scores": [relu(hide(scores)), true],
    "sigmoid, masked": [s.select(causal, sigmoid(scores), zero), true],
    "sigmoid times a mask": [s.mul(sigmoid(scores), float(keep)), true],
    "masked twice": [s.select(keep, sigmoid(hide(scores)), zero), true],
    "what is dropped is named": [s.select(s.op("not", keep), zero, sigmoid(scores)), true],
    "over the length": [s.div(sigmoid(hide(scores)), s.cast(s.add(row, s.constant(1, "i32")), "f32")), true],
    "a finite fill that the function takes to 0": [relu(s.select(causal, scores, s.constant(-1e9))), true],
    "a finite fill that it does not": [sigmoid(s.select(causal, scores, s.constant(-1))), false],
    "causal linear attention": [s.mul(scores, float(causal)), true],
    retention: [
      s.mul(scores, s.select(causal, s.exp(s.mul(scale, float(s.sub(s.iota("S"), row)))), zero)),
      true
    ],
    "silu, grouped": [s.mul(grouped, sigmoid(grouped)), false],
    "exponentials of what is known": [s.exp(s.sub(hide(scores), s.input("lse", ["B", 4, "T", 1]))), true],
    "two logits multiplied": [
      s.mul(scores, s.matmul(s.input("q2", ["B", 4, "T", 3]), s.swap(s.input("k2", ["B", 4, "S", 3])))),
      false
    ]
  }
  for (const [name, [weights, masked]] of Object.entries(visible)) {
    test(name, () => {
      const values = name.includes("grouped") ? s.repeatHeads(v2, 2) : v
      const { flashes, diagnostics } = becomes(s.matmul(weights, values), {
        nodes: [name.startsWith("two logits") ? "none x2" : "none"]
      })
      expect(flashes[0]?.attrs.mask !== undefined).toBe(masked)
      expect(diagnostics[0]?.into).toContain("no softmax")
    })
  }

  test("their own sum: two passes over the keys", () => {
    const w = relu(hide(scores, late))
    becomes(s.div(s.matmul(w, v), s.add(s.reduce("reduce_sum", w), s.constant(1e-6))), {
      nodes: ["none", "none"]
    })
    becomes(s.matmul(s.div(w, s.add(s.reduce("reduce_sum", w), s.constant(1e-6))), v), {
      nodes: ["none", "none"]
    })
  })
  test("a log-sum-exp of their own, other than of these scores", () => {
    const sum = s.logsumexp(s.mul(scores, s.constant(2)))
    becomes(s.matmul(sigmoid(s.sub(scores, s.reshape(sum, ["B", 4, "T", 1]))), v), { nodes: ["lse", "none"] })
  })

  const stays = (out: N) => {
    const before = s.graph(out)
    const { graph } = through(before, ...front)
    expect(nodesOf(graph, "flash_attention"), Print.graph(graph)).toEqual([])
    for (const at of lengths) expectSameValue(before, graph, at)
  }
  const x = s.input("x", ["B", "T", 8])
  const dense = (a: N, name: string, from: number, to: number) =>
    s.einsum("btd,de->bte", a, s.input(name, [from, to]))
  const others: { readonly [name: string]: N } = {
    "a layer of hidden units": dense(relu(dense(x, "w1", 8, 32)), "w2", 32, 8),
    "a gated layer": dense(s.mul(sigmoid(dense(x, "w1", 8, 32)), dense(x, "w3", 8, 32)), "w2", 32, 8),
    "a low rank": dense(s.mul(dense(x, "a", 8, 2), scale), "b", 2, 8),
    "three matrices": s.matmul(scores, v),
    "linear attention over everything": s.matmul(
      s.mul(scores, float(s.reshape(s.input("pad", ["B", "S"], "bool"), ["B", 1, 1, "S"]))),
      v
    ),
    "a feature map of projected queries": s.matmul(
      s.op("max", s.permute(s.reshape(dense(x, "wq", 8, 32), ["B", "T", 4, 8]), 0, 2, 1, 3), zero),
      s.input("kv", ["B", 4, 8, 6])
    )
  }
  for (const [name, out] of Object.entries(others)) test(`${name} stays`, () => stays(out))
})

describe("more outputs", () => {
  const attended = s.matmul(s.softmax(hide(scores, late)), v)
  test("maximum and log-sum-exp of the same attention", () => {
    const lse = s.logsumexp(hide(scores, late))
    const max = s.reduce("reduce_max", hide(scores, late))
    const { counts } = becomes({ attended, lse, max }, { nodes: ["result", "lse", "max"] })
    expect([counts.get("sum-is-shared"), counts.get("maximum-is-shared")]).toEqual([1, 1])
  })
  test("statistics alone", () => {
    becomes(s.logsumexp(hide(grouped)), { nodes: ["lse"] })
    becomes(s.reduce("reduce_max", hide(scores, late)), { nodes: ["max"] })
    becomes({ lse: s.logsumexp(scores), max: s.reduce("reduce_max", scores) }, { nodes: ["lse", "max"] })
  })
  test("statistics of scores that are in memory anyway are read from there", () => {
    becomes({ lse: s.logsumexp(scores), scores }, { nodes: [] })
  })
  test("classes are no keys", () => {
    becomes(s.logsumexp(s.einsum("btd,dc->btc", s.input("x", ["B", "T", 8]), s.input("w", [8, 100]))), {
      nodes: []
    })
  })
  test("raw, capped and masked scores", () => {
    const capped = s.op("tanh", scores)
    becomes(
      { attended: s.matmul(s.softmax(hide(capped)), v), scores, capped, masked: hide(capped) },
      { nodes: ["result"] }
    )
  })

  const onlyOutput = (p: N, out: N, more: Partial<Expected> = {}) => {
    const { graph, kernels, counts } = becomes({ out, p }, { nodes: ["result", "lse"], ...more })
    expect(nodesOf(graph, "softmax"), Print.graph(graph)).toEqual([])
    expect(counts.get("weights-from-sum")).toBeGreaterThan(0)
    return kernels
  }
  test("weights", () => {
    const filled = s.select(late, grouped, s.constant(-1e9))
    for (const [x, values] of [
      [scores, v],
      [hide(scores, late), v],
      [filled, s.repeatHeads(v2, 2)]
    ] as const) {
      const p = s.softmax(x)
      const kernels = onlyOutput(p, s.matmul(p, values))
      // One kernel makes the scores and writes the weights.
      expect(kernels.nodes.filter((n) => n.op === "fused").length).toBe(3)
    }
  })
  test("weights in f16, of scores in f16", () => {
    const a = s.input("q", ["B", 2, "T", 8], "f16")
    const b = s.input("k", ["B", 2, "S", 8], "f16")
    const c = s.input("v", ["B", 2, "S", 8], "f16")
    const narrow = s.softmax(s.matmul(a, s.swap(b)))
    onlyOutput(narrow, s.matmul(narrow, c))
    const wide = s.cast(s.softmax(s.cast(s.matmul(a, s.swap(b)), "f32")), "f16")
    onlyOutput(wide, s.matmul(wide, c))
  })
  test("weights beside a sink", () => {
    const sinks = s.broadcast(s.reshape(s.input("sinks", [4]), [1, 4, 1, 1]), ["B", 4, "T", 1])
    const p = s.slice(s.softmax(s.concat(3, hide(scores, late), sinks)), 3, 0, "S")
    onlyOutput(p, s.matmul(p, v))
  })
  test("weights that were dropped", () => {
    const p = s.softmax(scores)
    const dropped = s.mul(p, float(s.input("kept", ["B", 4, "T", "S"], "bool")))
    onlyOutput(dropped, s.matmul(dropped, v))
  })
  test("weights of attention that does not fuse stay a softmax", () => {
    const p = s.softmax(scores)
    const { graph } = through(s.graph({ p, out: s.matmul(s.mul(p, p), v) }), ...front)
    expect(nodesOf(graph, "softmax").length).toBe(1)
  })
})

describe("sums over queries", () => {
  const columns = (x: N, ...axes: ReadonlyArray<number>): N =>
    Node.make("reduce_sum", [x], { axes: axes.length === 0 ? [2] : axes }) as unknown as N
  const p = s.softmax(hide(scores, late))
  test("of weights, beside attention (H2O)", () => {
    const { flashes } = becomes(
      { out: s.matmul(p, v), sums: columns(p) },
      { nodes: ["result", "lse", "none"] }
    )
    // The mask is kept, with queries and keys exchanged.
    expect(flashes.find((n) => n.attrs.normaliser === "none")?.attrs.mask).toBeDefined()
  })
  test("of weights alone", () => {
    becomes(columns(p), { nodes: ["lse", "none"] })
  })
  test("of squared weights, and over the heads of a group", () => {
    const wide = s.softmax(grouped)
    becomes(columns(s.mul(wide, wide)), { nodes: ["lse", "none"] })
    becomes(columns(s.reshape(wide, ["B", 2, 2, "T", "S"]), 2, 3), { nodes: ["lse", "none"] })
  })
  test("of weights that somebody reads: from there", () => {
    becomes({ out: s.matmul(p, v), p, sums: columns(p) }, { nodes: ["result", "lse"] })
  })
  test("over the keys too", () => {
    becomes({ out: s.matmul(p, v), sums: columns(p, 3) }, { nodes: ["result", "lse", "none"] })
  })
})
