import { describe, test } from "vitest"
import type * as HostArray from "../../../ir/HostArray.ts"
import * as arrays from "../../support/arrays.ts"
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

const both = (a: Attention): Attention => ({ ...a, outputs: ["result", "lse", "max", "sum"] })

const cases: { readonly [name: string]: Attention } = {
  plain: both({}),
  "grouped heads": both({ heads: [6, 2] }),
  "one key/value head, a batch": both({ heads: [3, 1], sizes: [2, "T", "S"] }),
  "odd head sizes": both({ head: [5, 3] }),
  "values of several panels": { ...causal, head: [8, 24], heads: [4, 2], sizes: [2, "T", "S"] },
  "head sizes of 1": { head: [1, 1] },
  "a head size past a panel": { head: [20, 17] },
  causal: both(causal),
  window: both({ ...window(5), heads: [4, 2] }),
  "a mask without a range": both({ mask: causal.mask }),
  "a finite fill": both({ ...causal, fill: "-3" }),
  "a fill that no row needs": both({ ...causal, fill: "-1e9" }),
  "a fill that some rows need": both({ ...window(4), fill: "-30", heads: [4, 2] }),
  "a fill and no key for some rows": both({
    mask: ["%two: i32[] = constant {values = [2]}", "%seen: bool[] = gt %i, %two"],
    range: [
      "%lo: i32[] = constant {values = [0]}",
      "%hi: i32[] = dim {value = S}",
      "%fullLo: i32[] = constant {values = [0]}",
      "%fullHi: i32[] = constant {values = [0]}"
    ],
    fill: "-1e4"
  }),
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
  "a window of its own for each head": both({
    heads: [6, 2],
    mask: [
      "%start: i32[] = sub %i, %h",
      "%past: bool[] = le %j, %i",
      "%near: bool[] = ge %j, %start",
      "%seen: bool[] = and %past, %near"
    ],
    range: [
      "%one: i32[] = constant {values = [1]}",
      "%lo: i32[] = sub %first, %h",
      "%hi: i32[] = add %last, %one",
      "%fullLo: i32[] = sub %last, %h",
      "%fullHi: i32[] = add %first, %one"
    ]
  }),
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

  test.each(["plain", "causal", "sinks", "factors on weights"])("%s, without relaxed instructions", (name) =>
    agree(flashText(cases[name] as Attention), lengths, { relaxed: false })
  )

  test("logits that are infinite", () =>
    agree(flashText(both({ score: ["%x: f32[] = add %logit, %logit"] })), lengths, { data: "holes" }))
})

/** q, k, v of one head: random, but for one key and its value, which are filled. */
const marked = (key: number, value: number): ReadonlyArray<HostArray.HostArray> => {
  const from = arrays.random(5)
  const [q, k, v] = [0, 1, 2].map(() => arrays.array(from, "f32", [1, 1, 6, 8])) as [
    HostArray.HostArray<"f32">,
    HostArray.HostArray<"f32">,
    HostArray.HostArray<"f32">
  ]
  k.data.fill(key, 8 * 2, 8 * 3)
  v.data.fill(value, 8 * 2, 8 * 3)
  return [q, k, v]
}

describe("what is not a number stays with the pairs that see it", () => {
  const run = (attention: Attention, inputs: ReadonlyArray<HostArray.HostArray>) =>
    agree(flashText({ heads: [1, 1], sizes: [1, 6, 6], ...attention }), [{}], { inputs })

  test.each([Number.NaN, Infinity, -Infinity])("a value of %s", async (value) => {
    for (const attention of [causal, window(2), { ...causal, fill: "-3" }] satisfies ReadonlyArray<Attention>)
      await run(attention, marked(1, value))
    await run({ ...causal, normaliser: "none" }, marked(1, value))
    // A mask that is a score.
    await run(
      {
        captures: {},
        score: [
          "%out: f32[] = constant {values = [-inf]}",
          "%seen: bool[] = le %j, %i",
          "%masked: f32[] = select %seen, %logit, %out"
        ]
      },
      marked(1, value)
    )
  })
  test.each([Number.NaN, Infinity, -Infinity])("a key of %s", async (key) => {
    await run({ ...causal, outputs: ["result", "lse"] }, marked(key, 1))
    await run({ ...causal, normaliser: "none" }, marked(key, 1))
  })
  // A weight of 0 is a weight.
  test("weights of 0", () =>
    run(
      {
        ...causal,
        normaliser: "none",
        score: ["%zero: f32[] = constant {values = [0]}", "%x: f32[] = max %logit, %zero"]
      },
      marked(-1, Number.NaN)
    ))
})
