/** What the compiler says of its decisions: as data, as text, and in the error of `requireFused`. */
import { Effect, Result } from "effect"
import { describe, expect, it } from "vitest"
import * as Limits from "../../../ir/Limits.ts"
import * as Node from "../../../ir/Node.ts"
import { explain } from "../../../passes/explain.ts"
import { explainText, wrapped } from "../../../passes/explainText.ts"
import { formulas } from "../../../passes/formula.ts"
import { lawOf } from "../../../passes/laws.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as Trail from "../../../passes/Trail.ts"
import * as Attention from "../../../src/Attention.ts"
import { compile } from "../../../src/compile.ts"
import * as Mask from "../../../src/Mask.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { type Returned, type Signature, trace } from "../../../src/trace.ts"
import { graphOf } from "../../support/evaluate.ts"

const qkv: Signature = {
  q: spec("f32", ["B", 6, "T", 8]),
  k: spec("f32", ["B", 2, "S", 8]),
  v: spec("f32", ["B", 2, "S", 8]),
  lengths: spec("i32", ["B"])
}

type Inputs = { readonly [name: string]: Tensor.Tensor }

const explained = (fn: (inputs: Inputs) => Returned, signature = qkv, statistics = false) => {
  const { graph } = Result.getOrThrow(trace(fn as (inputs: never) => Returned, signature))
  const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))
  return explain(Result.getOrThrow(Pipeline.run(pipeline, graph, { limits: Limits.portable, statistics })))
}

const byHand =
  (mask: Mask.Mask) =>
  ({ q, k, v }: Inputs): Tensor.Tensor => {
    const [heads, values] = [k, v].map((x) => Tensor.repeatHeads(x as Tensor.Tensor, 3)) as [
      Tensor.Tensor,
      Tensor.Tensor
    ]
    const scores = Tensor.matmul(Tensor.mul(q as Tensor.Tensor, 0.5), Tensor.transpose(heads)).pipe(
      Mask.apply(mask)
    )
    const weights = Tensor.exp(Tensor.sub(scores, Tensor.max(scores, -1, { keepDims: true })))
    return Tensor.matmul(Tensor.div(weights, Tensor.sum(weights, -1, { keepDims: true })), values)
  }

describe("a decision to fuse", () => {
  it("tells the rules that led to it in their order, each with what it made of what", () => {
    const { decisions, fused, refused } = explained(byHand(Mask.causal))
    expect([fused, refused]).toEqual([1, 0])
    const steps = decisions[0]?.steps ?? []
    expect(steps.map((s) => `${s.pass}: ${s.rule}`)).toEqual([
      "normalize-softmax: exp-over-sum",
      "unexpand-heads: unexpand-heads",
      "fuse-attention: scale-of-queries",
      "fuse-attention: group-of-heads",
      "fuse-attention: infinity-is-a-mask"
    ])
    for (const { before, after } of steps) expect(before).not.toBe(after)
  })

  it("does not tell the steps of another attention", () => {
    const { decisions } = explained(({ q, k, v, lengths }) => {
      const other = Attention.scaledDotProductAttention(
        k as Tensor.Tensor,
        k as Tensor.Tensor,
        v as Tensor.Tensor
      )
      return [byHand(Mask.causal)({ q, k, v, lengths } as Inputs), other]
    })
    const steps = decisions.map((d) => d.steps.map((s) => s.rule))
    expect(steps.filter((rules) => rules.includes("exp-over-sum"))).toHaveLength(1)
    expect(steps).toHaveLength(2)
  })

  const masks: ReadonlyArray<
    readonly [string, (inputs: Inputs) => Mask.Mask, string, string | undefined, number | undefined]
  > = [
    ["causal", () => Mask.causal, "0 ≤ j < min(i + 1, S)", "(T + 1) / (2 · S) where T ≤ S", 0.501],
    [
      "a window",
      () => Mask.and(Mask.causal, Mask.slidingWindow(64)),
      "max(i − 64, 0) ≤ j < min(i + 1, S)",
      "at most 65 / S",
      0.0615
    ],
    [
      "lengths",
      ({ lengths }) => Mask.padding(lengths as Tensor.Tensor<"i32">),
      "0 ≤ j < min(lengths[b], S)",
      "min(lengths[b], S) / S",
      undefined
    ]
  ]
  for (const [name, mask, keys, visible, fraction] of masks) {
    it(`says which keys a row sees under ${name}, and how much of the matrix that is`, () => {
      const { decisions } = explained((inputs) => byHand(mask(inputs))(inputs))
      const said = decisions[0]?.fusion?.mask
      expect(`${said?.keys?.from} ≤ j < ${said?.keys?.to}`).toBe(keys)
      expect([said?.visible, said?.example?.fraction, said?.exact]).toEqual([visible, fraction, true])
    })
  }

  it("asks nothing of a length that queries and keys share", () => {
    const own = ({ q }: Inputs): Tensor.Tensor => {
      const x = q as Tensor.Tensor
      return Attention.scaledDotProductAttention(x, x, x, { mask: Mask.causal })
    }
    const { decisions } = explained(own)
    expect(decisions[0]?.fusion?.mask?.visible).toBe("(T + 1) / (2 · T)")
  })

  it("is data: nothing is lost as JSON", () => {
    const data = explained(byHand(Mask.causal))
    expect(JSON.parse(JSON.stringify(data))).toEqual(data)
  })
})

describe("a refusal", () => {
  const lost = ({ q, v }: Inputs): Tensor.Tensor =>
    Tensor.matmul(Tensor.softmax(Tensor.cumsum(q as Tensor.Tensor, -1), -1), v as Tensor.Tensor)
  const flat: Signature = { q: spec("f32", ["T", "S"]), v: spec("f32", ["S", 8]) }

  it("has a place, a reason and something to try, as data and as text", () => {
    const data = explained(lost, flat)
    expect(data).toMatchObject({ fused: 0, refused: 1 })
    const [d] = data.decisions
    expect(d?.at?.file).toMatch(/explain\.test\.ts$/)
    const text = explainText(data, { line: () => "the line", file: () => "model.ts" })
    expect(text.split("\n").slice(0, 4)).toEqual([
      "attention: 0 fused, 1 refused",
      "",
      `✗ not fused  ${d?.subject}`,
      `  at model.ts:${d?.at?.line}:${d?.at?.column}`
    ])
    for (const part of [d?.nearest, d?.failed, d?.suggestion]) expect(text).toContain(part)
  })

  it("is what requireFused fails with", async () => {
    const compiling = compile(lost as never, flat as never, { requireFused: true })
    const error = await Effect.runPromise(Effect.flip(Effect.provide(compiling, Reference.layer)))
    expect(error).toMatchObject({ _tag: "FusionRequired", explanation: { version: 1, fused: 0, refused: 1 } })
    expect(error.message).toContain("✗ not fused")
  })
})

describe("statistics", () => {
  it("count each attempt of a rule, on request", () => {
    const asked = explained(byHand(Mask.causal), qkv, true)
    const pass = asked.passes.find((p) => p.pass === "normalize-softmax")
    expect(pass?.statistics?.["exp-over-sum"]).toMatchObject({ tried: 1, applied: 1 })
    for (const { rules, statistics = {} } of asked.passes) {
      for (const [rule, { tried, applied }] of Object.entries(statistics)) {
        expect(tried).toBeGreaterThanOrEqual(applied)
        expect(rules[rule] ?? 0, rule).toBe(applied)
      }
    }
    expect(explained(byHand(Mask.causal)).passes.every((p) => p.statistics === undefined)).toBe(true)
  })
})

describe("a trail", () => {
  const node = (name: string): Node.Node =>
    Node.make("input", [], { name, type: { dtype: "f32", shape: [] } }) as Node.Node

  it("follows nodes that are rebuilt, and stays short however often a rule applies", () => {
    const { within } = Trail.make()
    const [first, second] = [within("first"), within("second")]
    const [a, b, c] = ["a", "b", "c"].map(node) as [Node.Node, Node.Node, Node.Node]
    first.applied("one", a, b)
    first.follow(b, c)
    second.applied("two", b, c)
    expect(second.of([c])).toEqual([
      { pass: "first", rule: "one" },
      { pass: "second", rule: "two" }
    ])
    expect(second.of([a])).toEqual([])
    for (let i = 0; i < 1000; i++) second.applied("again", a, a)
    expect(second.of([a]).length).toBeLessThan(100)
  })
})

describe("texts", () => {
  it("a law is told before and after its equals sign, not one in brackets", () => {
    expect(lawOf("safe-softmax")).toEqual({
      before: "select(all x = -∞, 0, softmax(x))",
      after: "softmax(x)"
    })
    expect(lawOf("no-such-rule")).toBeUndefined()
  })

  it("formulas keep the brackets they need", () => {
    const graph = graphOf(`
      %0: f32[] = input {name = "x"}
      %1: f32[] = constant {values = [2]}
      %2: f32[] = sub %0, %1
      %3: f32[] = sub %0, %2
      %4: f32[] = mul %3, %2
      %5: f32[] = constant {values = [-3]}
      %6: f32[] = add %4, %5
      return %6`)
    expect(formulas(graph)).toEqual(["(x − (x − 2)) · (x − 2) − 3"])
    expect(formulas(graph, new Map(), 8)).toEqual([undefined])
  })

  it("lines break between words only", () => {
    expect(wrapped("a bb ccc dddd", 6)).toEqual(["a bb", "ccc", "dddd"])
    expect(wrapped("unbreakable", 3)).toEqual(["unbreakable"])
  })
})
