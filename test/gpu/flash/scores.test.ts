import { test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { agree } from "../../support/agree.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  causal,
  flashText,
  scaled,
  schedulesOf,
  small,
  smallDecode,
  smallStaged
} from "../../support/flashText.ts"

const [T, S] = [5, 9]

const everywhere = async (
  attention: Attention,
  captures: ReadonlyArray<HostArray.HostArray>
): Promise<void> => {
  const graph = graphOf(
    flashText({ heads: [4, 2], sizes: [2, "T", "S"], outputs: ["result", "lse"], ...attention })
  )
  for (const schedule of [small, smallStaged, smallDecode]) {
    const from = arrays.random(2)
    const queries = schedule === smallDecode ? 3 : T
    const qkv = [
      [2, 4, queries, 8],
      [2, 2, S, 8],
      [2, 2, S, 8]
    ].map((shape) => arrays.array(from, "f32", shape))
    await agree(
      graph,
      { T: queries, S },
      { kind: "cpu", schedules: schedulesOf(schedule), inputs: [...qkv, ...captures] }
    )
  }
}

test("scale and softcap", async () => {
  await everywhere(
    {
      score: [
        ...scaled,
        "%cap: f32[] = constant {values = [1.5]}",
        "%ratio: f32[] = div %scaled, %cap",
        "%bounded: f32[] = tanh %ratio",
        "%capped: f32[] = mul %bounded, %cap"
      ]
    },
    []
  )
})

test("a bias that is data, with -inf and +inf in it", async () => {
  const bias = arrays.array(arrays.random(8), "f32", [4, 5, S], "holes")
  await everywhere(
    {
      captures: { bias: "f32[4, 5, S]" },
      score: [...scaled, "%term: f32[] = load %bias, %h, %i, %j", "%biased: f32[] = add %scaled, %term"]
    },
    [bias]
  )
  // The least finite number is not -inf: a row of nothing else gives the mean.
  const least = HostArray.fromNumbers(
    "f32",
    [4, 5, S],
    new Float64Array(4 * 5 * S).fill(-3.4028234663852886e38)
  )
  await everywhere(
    {
      captures: { bias: "f32[4, 5, S]" },
      score: [...scaled, "%term: f32[] = load %bias, %h, %i, %j", "%biased: f32[] = add %scaled, %term"]
    },
    [least]
  )
})

test("a mask that asks whether data is infinite", async () => {
  const bias = arrays.array(arrays.random(9), "f32", [4, 5, S], "holes")
  await everywhere(
    {
      captures: { bias: "f32[4, 5, S]" },
      mask: [
        "%term: f32[] = load %bias, %h, %i, %j",
        "%hidden: bool[] = is_inf %term",
        "%seen: bool[] = not %hidden"
      ],
      score: [...scaled, "%term: f32[] = load %bias, %h, %i, %j", "%biased: f32[] = add %scaled, %term"],
      fill: "-100"
    },
    [bias]
  )
})

test("ALiBi: slopes by head, distances by index", async () => {
  await everywhere(
    {
      ...causal,
      captures: { slopes: "f32[4]" },
      score: [
        ...scaled,
        "%slope: f32[] = load %slopes, %h",
        "%distance: i32[] = sub %j, %i",
        "%far: f32[] = cast %distance",
        "%term: f32[] = mul %slope, %far",
        "%biased: f32[] = add %scaled, %term"
      ]
    },
    [HostArray.fromNumbers("f32", [4], Float64Array.from([0.5, 0.25, 0.125, 0.0625]))]
  )
})

test("a factor on the weights", async () => {
  await everywhere(
    {
      ...causal,
      captures: { gate: "f32[2, 4]" },
      probability: ["%factor: f32[] = load %gate, %b, %h"],
      outputs: ["result"]
    },
    [arrays.array(arrays.random(4), "f32", [2, 4])]
  )
})

test("logits that are huge do not overflow", async () => {
  for (const scale of ["-1e4", "1e30"]) {
    await everywhere(
      {
        score: [`%scale: f32[] = constant {values = [${scale}]}`, "%scaled: f32[] = mul %logit, %scale"],
        outputs: ["result"]
      },
      []
    )
  }
})
