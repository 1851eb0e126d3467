import { describe, expect, it } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Tolerance from "../../../ir/Tolerance.ts"
import { unfuseAttention } from "../../../passes/unfuseAttention.ts"
import { array, random } from "../../support/arrays.ts"
import { evaluate, graphOf } from "../../support/evaluate.ts"
import { type Attention, causal, flashText } from "../../support/flashText.ts"
import { expectClose } from "../../support/tolerance.ts"

/** Attention beyond one logit, one softmax and its result: each equals what unfuse-attention writes. */

const { mask } = causal
const sum = ["%s: f32[] = add %logit, %logit1", "%t: f32[] = tanh %s"]

const cases: { readonly [name: string]: Attention } = {
  "two logits, the second's keys shared by all heads": { more: [["B", 1, 3]], score: sum, mask },
  "two logits, the second's keys shared by the batch": { more: [[1, 2, 5]], score: sum },
  "three logits": {
    more: [
      ["B", 2, 3],
      ["B", 1, 1]
    ],
    score: ["%s: f32[] = mul %logit, %logit2", "%t: f32[] = add %s, %logit1"]
  },
  "no normaliser": { normaliser: "none", score: ["%s: f32[] = tanh %logit"] },
  "no normaliser, masked": { normaliser: "none", score: ["%s: f32[] = tanh %logit"], mask },
  "maximum, result and log-sum-exp": { outputs: ["max", "result", "lse"], mask },
  "sum, with a sink": { outputs: ["sum"], sink: ["%x: f32[] = constant {values = [0.5]}"] },
  "sum, masked": { outputs: ["sum"], mask },
  "maximum with a sink and a fill": {
    outputs: ["max"],
    mask,
    fill: "-1e9",
    sink: ["%x: f32[] = constant {values = [0.5]}"]
  }
}

describe.each(Object.entries(cases))("%s", (_, attention) => {
  it.each([
    { B: 2, T: 5, S: 7 },
    { B: 1, T: 1, S: 1 },
    { B: 2, T: 3, S: 0 }
  ])("equals its definition for %o", (sizes) => {
    const text = flashText({ sizes: ["B", "T", "S"], heads: [4, 2], ...attention })
    const graph = graphOf(text)
    const drawn = random(11)
    const inputs = graph.inputs.map((i) =>
      array(drawn, "f32", Shape.evaluate(i.type.shape, sizes))
    ) as ReadonlyArray<HostArray>
    const plain = unfuseAttention.run(graph, {
      limits: Limits.portable,
      donated: new Set(),
      count: () => {}
    }).graph
    expect(plain.nodes.some((n) => n.op === "flash_attention")).toBe(false)
    const expected = Reference.evaluate(plain, inputs, sizes)
    const tolerances = Tolerance.of(plain, sizes)
    evaluate(text, inputs, sizes).forEach((out, n) => {
      expectClose(out, expected[n] as HostArray, tolerances[n] as Tolerance.Tolerance)
    })
  })
})

it.each([
  ["a sink", { normaliser: "none", sink: ["%x: f32[] = constant {values = [0]}"] }],
  ["another fill", { normaliser: "none", fill: "-inf" }],
  ["another output", { normaliser: "none", outputs: ["lse"] }]
] as const)("refuses %s without a normaliser", (_, attention) => {
  expect(() => graphOf(flashText(attention))).toThrow(/without a normaliser/)
})

it("refuses keys of a term with other heads", () => {
  expect(() => graphOf(flashText({ heads: [12, 6], more: [[1, 3, 4]] }))).toThrow(/key heads or 1/)
})
