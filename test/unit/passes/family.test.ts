import { describe, expect, test } from "vitest"
import { portable } from "../../../ir/Limits.ts"
import type * as Node from "../../../ir/Node.ts"
import { parts } from "../../../ir/ops/flashAttention.ts"
import * as Print from "../../../ir/Print.ts"
import * as Shape from "../../../ir/Shape.ts"
import { fuseElementwise } from "../../../passes/fuseElementwise.ts"
import { unfuseAttention } from "../../../passes/unfuseAttention.ts"
import { biases } from "../../support/family/biases.ts"
import { functions, masked, others } from "../../support/family/functions.ts"
import { logits, rope } from "../../support/family/logits.ts"
import { averages, statistics, sums, weightsOut } from "../../support/family/outputs.ts"
import { half, type Member, scores, type Table, v } from "../../support/family/words.ts"
import { expectSameValue, isViewOfInput, nodesOf, through, toFusion } from "../../support/fusing.ts"
import * as s from "../../support/spell.ts"

type Flash = Node.NodeOf<"flash_attention">

const lengths: ReadonlyArray<s.Dim.Bindings> = [
  { B: 2, T: 3, S: 5, N: 3, L: 4 },
  { B: 1, T: 4, S: 1, N: 1, L: 5 },
  { B: 2, T: 1, S: 7, N: 2, L: 1 },
  { B: 2, T: 3, S: 0, N: 2, L: 0 }
]

const kindOf = ({ attrs }: Flash): string =>
  `${attrs.normaliser ?? attrs.output}${attrs.terms === undefined ? "" : ` x${attrs.terms}`}`

/** Whether a tensor has an element for each pair of a query and a key. */
const isPairs = (node: Node.Node): boolean => {
  const names = node.type.shape.flatMap((d) => d.terms.flatMap((t) => t.symbols))
  return names.includes("T") && names.includes("S")
}

/** Compiles, and compares with what was written: as it is, and with the nodes written out again. */
const check = ({ outputs, nodes, inMemory = 0 }: Member) => {
  const before = s.graph(outputs)
  const { graph, diagnostics, counts } = through(before, ...toFusion)
  const flashes = nodesOf(graph, "flash_attention")
  expect(flashes.map(kindOf).sort(), Print.graph(graph)).toEqual([...nodes].sort())
  for (const { operands, attrs } of flashes) {
    const own = parts(operands, attrs)
    // Keys that the heads of a group share are seen by each of them where they take the place of queries.
    if (own.v.op === "broadcast") continue
    for (const { q, k } of own.terms)
      for (const x of [q, k]) expect(isViewOfInput(x) || q.op === "add", Print.graph(graph)).toBe(true)
  }
  const kernels = fuseElementwise.run(graph, { limits: portable, donated: new Set(), count: () => {} }).graph
  const ends = new Set(kernels.outputs.map((o) => o.node))
  const pairs = kernels.nodes.filter((n) => n.op === "fused" && isPairs(n) && !ends.has(n))
  expect(pairs.length, Print.graph(kernels)).toBe(inMemory)
  const again = through(graph, unfuseAttention).graph
  for (const at of lengths) {
    expectSameValue(before, graph, at)
    expectSameValue(before, again, at)
  }
  return { graph, flashes, diagnostics, counts, kernels }
}

const all = (name: string, table: Table): void => {
  describe(name, () => {
    for (const [own, member] of Object.entries(table)) test(own, () => void check(member))
  })
}

all("several logits, several softmaxes", logits)
all("no softmax", functions)
all("no attention", others)
all("statistics", statistics)
all("weights", weightsOut)
all("sums of weights", sums)
all("averages", averages)
all("biases", biases)

test("keys of a further logit keep the heads they have", () => {
  for (const name of ["a part with one head for all (MLA)", "the part first, its keys expanded"]) {
    const [{ operands, attrs }] = check(logits[name] as Member).flashes as readonly [Flash]
    const shapes = parts(operands, attrs).terms.map(({ k }) => Shape.print(k.type.shape))
    expect(shapes).toEqual(["[B, 4, S, 8]", "[B, 1, S, 4]"])
  }
})

test("what is read from memory is said", () => {
  const { diagnostics } = check(
    logits["keys for each query are read from memory (Shaw's relative keys)"] as Member
  )
  expect(diagnostics[0]?.into).toContain("from memory")
  expect(diagnostics[0]?.rules).toContain("contraction-is-read")
})

test("the latent that keys and values share is too wide for a head (MLA, absorbed)", () => {
  const c = s.input("c", ["B", "S", 512])
  const content = s.einsum("bhtd,bsd->bhts", s.input("ql", ["B", 4, "T", 512]), c)
  const { graph, diagnostics } = through(
    s.graph(s.einsum("bhts,bsd->bhtd", s.softmax(s.add(content, rope)), c)),
    ...toFusion
  )
  expect(nodesOf(graph, "flash_attention")).toEqual([])
  expect(diagnostics.map((d) => d.failed)).toEqual([expect.stringContaining("head size is 512")])
})

test("addends of f16 are rounded once", () => {
  const [q, k, values] = [half("q", "B", 2, "T", 8), half("k", "B", 2, "S", 8), half("v", "B", 2, "S", 8)]
  const [first, second] = [q, half("q2", "B", 2, "T", 8)].map((x) => s.softmax(s.matmul(x, s.swap(k))))
  const { flashes } = check({
    outputs: s.matmul(s.sub(first as s.N, second as s.N), values),
    nodes: ["result", "result"]
  })
  expect(flashes.map((n) => n.attrs.dtype)).toEqual(["f32", "f32"])
})

test("five softmaxes stay", () => {
  const more = ["a", "b", "c", "d"].map((name) => s.softmax(s.mul(scores, s.input(name, []))))
  const { graph, diagnostics } = through(
    s.graph(s.matmul(more.reduce(s.add, s.softmax(scores)), v)),
    ...toFusion
  )
  expect(nodesOf(graph, "flash_attention")).toEqual([])
  expect(diagnostics.map((d) => d.failed)).toEqual([
    expect.stringContaining("5 softmax results are combined")
  ])
})

test("a mask is seen where the weights are 0", () => {
  for (const [name, member] of Object.entries(functions)) {
    const { flashes, diagnostics } = check(member)
    const seen = flashes.some((n) => n.attrs.mask !== undefined)
    expect([name, seen]).toEqual([name, name in masked || name.startsWith("over their own sum")])
    expect(diagnostics.some((d) => d.into?.includes("no softmax"))).toBe(true)
  }
})

test("biases are read where they are, as long as they are", () => {
  const { flashes } = check(biases["Evoformer: rows, gated"] as Member)
  const [{ operands, attrs }] = flashes as readonly [Flash]
  const { captures } = parts(operands, attrs)
  expect(captures.map((c) => [c.op, Shape.print(c.type.shape)])).toEqual([
    ["input", "[B, N, 1, 1, L]"],
    ["input", "[B, 1, 2, L, L]"]
  ])
  for (const member of Object.values(biases))
    for (const flash of check(member).flashes)
      expect(parts(flash.operands, flash.attrs).captures.map((c) => c.op)).not.toContain("broadcast")
})

test("streams of values are counted", () => {
  const { diagnostics } = check(logits["two streams of values, joined"] as Member)
  expect(diagnostics.filter((d) => d.outcome === "note").map((d) => d.nearest)).toEqual([
    expect.stringContaining("2 streams of values")
  ])
})

test("statistics come from the same attention", () => {
  const { counts } = check(statistics["maximum and log-sum-exp of the same attention"] as Member)
  expect([counts.get("sum-is-shared"), counts.get("maximum-is-shared")]).toEqual([1, 1])
})

test("one kernel makes the scores and writes the weights", () => {
  for (const member of Object.values(weightsOut)) {
    const { graph, kernels, counts } = check(member)
    expect(nodesOf(graph, "softmax"), Print.graph(graph)).toEqual([])
    expect(counts.get("weights-from-sum")).toBeGreaterThan(0)
    expect(kernels.nodes.filter((n) => n.op === "fused").length, Print.graph(kernels)).toBe(4)
  }
})

test("weights of attention that does not fuse stay a softmax", () => {
  const p = s.softmax(scores)
  const { graph } = through(s.graph({ p, out: s.matmul(s.mul(p, p), v) }), ...toFusion)
  expect(nodesOf(graph, "softmax").length).toBe(1)
})
