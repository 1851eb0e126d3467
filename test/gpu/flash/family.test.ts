import { test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import { agree } from "../../support/agree.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  causal,
  flashText,
  scaled,
  schedulesOf,
  small,
  smallDecode,
  smallStaged,
  window
} from "../../support/flashText.ts"

/** Attention beyond one logit, one softmax and its result, by every kind of kernel. */

const schedules: { readonly [name: string]: Flash } = {
  prefill: small,
  "prefill, staged": smallStaged,
  decode: smallDecode
}

/** Lengths for a schedule: several tiles and splits with odd ends, one of each, none. */
const lengths = (schedule: Flash) => {
  const T = schedule.decodeRows > 0 ? 3 : 5
  return [
    { T, S: 11 },
    { T: 1, S: 1 },
    { T, S: 0 },
    { T: 0, S: 3 }
  ]
}

const each = (name: string, attention: Attention): void => {
  test.each(Object.keys(schedules))(`${name}: %s`, async (kind) => {
    const schedule = schedules[kind] as Flash
    const graph = graphOf(flashText({ heads: [4, 2], sizes: [2, "T", "S"], ...attention }))
    for (const sizes of lengths(schedule))
      await agree(graph, sizes, { kind: "cpu", schedules: schedulesOf(schedule) })
  })
}

const relu = ["%zero: f32[] = constant {values = [0]}", "%kept: f32[] = max %logit, %zero"]
const sigmoid = [...scaled, "%kept: f32[] = sigmoid %scaled"]

each("no normaliser", { normaliser: "none", score: relu })
each("no normaliser, causal, odd head sizes", {
  ...causal,
  normaliser: "none",
  score: sigmoid,
  head: [5, 7]
})
each("no normaliser, a window, in 16 bits", {
  ...window(3),
  normaliser: "none",
  score: sigmoid,
  dtype: "bf16"
})

const sink = ["%z: f32[] = constant {values = [0.5]}"]
/** Half of the keys, none for row 0. */
const sparse = {
  mask: [
    "%two: i32[] = constant {values = [2]}",
    "%half: i32[] = floor_div %i, %two",
    "%seen: bool[] = lt %j, %half"
  ]
} satisfies Attention

each("maximum", { outputs: ["max"] })
each("sum", { outputs: ["sum"], score: scaled })
each("sum, rows without keys, with a sink", { ...sparse, sink, outputs: ["sum"] })
each("sum and maximum, with a finite fill", { ...sparse, fill: "-1e9", outputs: ["sum", "max"] })
each("maximum, rows without keys", { ...sparse, outputs: ["max"], dtype: "f16" })
each("maximum, with a sink", { ...causal, sink, outputs: ["max"] })
each("maximum, with a finite fill", { ...sparse, fill: "-1e9", outputs: ["max"] })
each("maximum of scores that are the least number", {
  score: ["%least: f32[] = constant {values = [-3.4028234663852886e38]}", "%low: f32[] = min %logit, %least"],
  outputs: ["max"]
})

const sum = ["%sum: f32[] = add %logit, %logit1"]

each("two logits, the second's keys shared by all heads", { more: [[2, 1, 3]], score: sum })
each("two logits, the second's keys shared by the batch", {
  ...causal,
  more: [[1, 2, 12]],
  score: ["%bend: f32[] = tanh %logit1", "%scored: f32[] = mul %logit, %bend"],
  head: [5, 9]
})
each("four logits, in 16 bits, by long regions", {
  ...window(4),
  more: [
    [2, 1, 4],
    [1, 1, 1],
    [2, 2, 6]
  ],
  score: [
    ...sum,
    "%bent: f32[] = tanh %sum",
    "%third: f32[] = mul %bent, %logit2",
    "%all: f32[] = add %third, %logit3"
  ],
  dtype: "f16",
  outputs: ["result", "lse"]
})
each("two logits without a normaliser", {
  more: [[2, 2, 4]],
  score: sum,
  mask: causal.mask,
  normaliser: "none"
})

/** q, k, v of a program of one head, all ones but for one element of v and one key. */
const marked = (value: number, key: number): ReadonlyArray<HostArray.HostArray> => {
  const of = (shape: ReadonlyArray<number>) => new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(1)
  const [k, v] = [of([1, 1, 6, 8]), of([1, 1, 6, 8])]
  k.fill(key, 8 * 2, 8 * 3)
  v.fill(value, 8 * 2, 8 * 3)
  return [
    HostArray.fromNumbers("f32", [1, 1, 3, 8], of([1, 1, 3, 8])),
    HostArray.fromNumbers("f32", [1, 1, 6, 8], k),
    HostArray.fromNumbers("f32", [1, 1, 6, 8], v)
  ]
}

test.each(Object.keys(schedules))("what is not a number stays with its pair: %s", async (kind) => {
  const schedule = schedules[kind] as Flash
  const run = (attention: Attention, inputs: ReadonlyArray<HostArray.HostArray>) =>
    agree(
      flashText({ heads: [1, 1], sizes: [1, 3, 6], ...attention }),
      {},
      { kind: "cpu", schedules: schedulesOf(schedule), inputs }
    )
  // Key 2 is hidden from rows 0 and 1.
  for (const value of [NaN, Infinity]) {
    await run({ normaliser: "none", mask: causal.mask, score: scaled }, marked(value, 1))
    await run({ normaliser: "none", mask: causal.mask, score: scaled }, marked(1, value))
  }
  // A weight of 0 is a weight.
  await run({ normaliser: "none", mask: causal.mask, score: relu }, marked(NaN, -1))
  for (const key of [NaN, Infinity, -Infinity])
    await run({ mask: causal.mask, score: scaled, outputs: ["max"] }, marked(1, key))
  for (const z of [NaN, Infinity, -Infinity]) {
    const sinks = HostArray.fromNumbers("f32", [1], Float64Array.of(z))
    await run(
      {
        captures: { sinks: "f32[1]" },
        sink: ["%z: f32[] = load %sinks, %h"],
        mask: causal.mask,
        outputs: ["result", "lse", "max"]
      },
      [...marked(1, 1), sinks]
    )
  }
})
