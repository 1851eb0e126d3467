import { type Attention, anyKey, causal, window } from "./flashText.ts"

/** Around the sizes of blocks and tiles, and past several of them. */
export const lengths = [
  { T: 1, S: 1 },
  { T: 3, S: 7 },
  { T: 33, S: 70 },
  { T: 64, S: 64 },
  { T: 70, S: 200 },
  { T: 0, S: 5 },
  { T: 5, S: 0 }
]

export const all = (a: Attention): Attention => ({ ...a, outputs: ["result", "lse", "max", "sum"] })

/** Every region, and what else changes the code of attention. */
/** Each batch entry sees so many keys as data says. */
export const ofLengths = {
  sizes: [3, "T", "S"],
  heads: [4, 2],
  captures: { lengths: "i32[3]" },
  mask: ["%end: i32[] = load %lengths, %b", "%seen: bool[] = lt %j, %end"],
  range: [
    "%lo: i32[] = constant {values = [0]}",
    "%hi: i32[] = load %lengths, %b",
    "%fullLo: i32[] = constant {values = [0]}",
    "%fullHi: i32[] = load %lengths, %b"
  ]
} satisfies Attention

export const cases: { readonly [name: string]: Attention } = {
  plain: all({}),
  "grouped heads": all({ heads: [6, 2] }),
  "one key/value head, a batch": all({ heads: [3, 1], sizes: [2, "T", "S"] }),
  "odd head sizes": all({ head: [5, 3] }),
  "values of several panels": { ...causal, head: [8, 24], heads: [4, 2], sizes: [2, "T", "S"] },
  "head sizes of 1": { head: [1, 1] },
  "a head size past a panel": { head: [20, 17] },
  causal: all(causal),
  window: all({ ...window(5), heads: [4, 2] }),
  "a mask without a range": all({ mask: causal.mask }),
  "a finite fill": all({ ...causal, fill: "-3" }),
  "a fill that no row needs": all({ ...causal, fill: "-1e9" }),
  "a fill that some rows need": all({ ...window(4), fill: "-30", heads: [4, 2] }),
  "a fill and no key for some rows": all({
    mask: ["%two: i32[] = constant {values = [2]}", "%seen: bool[] = gt %i, %two"],
    range: [
      "%lo: i32[] = constant {values = [0]}",
      "%hi: i32[] = dim {value = S}",
      "%fullLo: i32[] = constant {values = [0]}",
      "%fullHi: i32[] = constant {values = [0]}"
    ],
    fill: "-1e4"
  }),
  "no key for some rows": all({
    mask: ["%two: i32[] = constant {values = [2]}", "%seen: bool[] = gt %i, %two"]
  }),
  sinks: all({
    heads: [2, 2],
    captures: { sinks: "f32[2]" },
    sink: ["%s: f32[] = load %sinks, %h"],
    ...causal
  }),
  "a bias for every pair": all({
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
  "a window of its own for each head": all({
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
  "lengths of a batch, row by row": all({
    sizes: [3, "T", "S"],
    captures: { lengths: "i32[3]" },
    mask: ["%end: i32[] = load %lengths, %b", "%seen: bool[] = lt %j, %end"],
    range: anyKey,
    rowRange: [
      "%lo: i32[] = constant {values = [0]}",
      "%hi: i32[] = load %lengths, %b",
      "%fullLo: i32[] = constant {values = [0]}",
      "%fullHi: i32[] = load %lengths, %b"
    ]
  }),
  "lengths of a batch, of all rows alike": all(ofLengths),
  "lengths of a batch, stored in 16 bits": { ...ofLengths, dtype: "f16" },
  "a window that data gives, for each head, row by row": all({
    heads: [4, 2],
    captures: { back: "i32[4, T]" },
    mask: [
      "%far: i32[] = load %back, %h, %i",
      "%start: i32[] = sub %i, %far",
      "%past: bool[] = le %j, %i",
      "%near: bool[] = ge %j, %start",
      "%seen: bool[] = and %past, %near"
    ],
    range: [...causal.range.slice(0, -1), "%fullHi: i32[] = constant {values = [0]}"],
    rowRange: [
      "%one: i32[] = constant {values = [1]}",
      "%far: i32[] = load %back, %h, %i",
      "%lo: i32[] = sub %i, %far",
      "%hi: i32[] = add %i, %one",
      "%fullLo: i32[] = sub %i, %far",
      "%fullHi: i32[] = add %i, %one"
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
  "several logits": all({
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
