import { describe, test } from "vitest"
import { type Attention, causal, flashText, window } from "../../support/flashText.ts"
import { agree } from "../../support/onWasm.ts"

/** Around the sizes of blocks and tiles, and past several of them. */
const lengths = [
  { T: 1, S: 1 },
  { T: 3, S: 7 },
  { T: 33, S: 70 },
  { T: 64, S: 64 },
  { T: 70, S: 200 },
  { T: 0, S: 5 },
  { T: 5, S: 0 }
]

const both = (a: Attention): Attention => ({ ...a, outputs: ["result", "lse", "max"] })

const cases: { readonly [name: string]: Attention } = {
  plain: both({}),
  "grouped heads": both({ heads: [6, 2] }),
  "one key/value head, a batch": both({ heads: [3, 1], sizes: [2, "T", "S"] }),
  "odd head sizes": both({ head: [5, 3] }),
  "head sizes of 1": { head: [1, 1] },
  "a head size past a panel": { head: [20, 17] },
  causal: both(causal),
  window: both({ ...window(5), heads: [4, 2] }),
  "a mask without a range": both({ mask: causal.mask }),
  "a finite fill": both({ ...causal, fill: "-3" }),
  "no key for some rows": both({
    mask: ["%two: i32[] = constant {values = [2]}", "%seen: bool[] = gt %i, %two"]
  }),
  sinks: both({
    heads: [2, 2],
    captures: { sinks: "f32[2]" },
    sink: ["%s: f32[] = load %sinks, %h"],
    ...causal
  }),
  "a bias for every pair": both({
    captures: { bias: "f32[2, T, S]" },
    score: ["%add: f32[] = load %bias, %h, %i, %j", "%sum: f32[] = add %logit, %add"],
    ...causal
  }),
  "a bias for distances": {
    captures: { table: "f32[9]" },
    score: [
      "%distance: i32[] = sub %i, %j",
      "%add: f32[] = load %table, %distance",
      "%sum: f32[] = add %logit, %add"
    ]
  },
  "documents of a batch": {
    sizes: [2, "T", "T"],
    captures: { ids: "i32[2, T]" },
    mask: [
      "%own: i32[] = load %ids, %b, %i",
      "%other: i32[] = load %ids, %b, %j",
      "%seen: bool[] = eq %own, %other"
    ]
  },
  softcap: {
    score: [
      "%cap: f32[] = constant {values = [2]}",
      "%down: f32[] = div %logit, %cap",
      "%bent: f32[] = tanh %down",
      "%up: f32[] = mul %bent, %cap"
    ]
  },
  "factors on weights": {
    captures: { keep: "f32[T, S]" },
    probability: ["%factor: f32[] = load %keep, %i, %j"],
    ...causal
  },
  "several logits": both({
    more: [
      [1, 1, 3],
      [1, 2, 9]
    ],
    score: ["%first: f32[] = add %logit, %logit1", "%sum: f32[] = add %first, %logit2"],
    ...causal
  }),
  "scores as weights": { ...causal, normaliser: "none" },
  "stored in 16 bits, f16": { ...causal, dtype: "f16", heads: [4, 2], head: [16, 16] },
  "stored in 16 bits, bf16": { ...causal, dtype: "bf16", resultDtype: "f32" }
}

describe("attention, at any lengths by the same kernels", () => {
  test.each(Object.entries(cases))("%s", (_, attention) => agree(flashText(attention), lengths))

  test("logits that are infinite", () =>
    agree(flashText(both({ score: ["%x: f32[] = add %logit, %logit"] })), lengths, { data: "holes" }))
})
