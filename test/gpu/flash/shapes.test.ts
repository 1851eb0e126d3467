import { test } from "vitest"
import { choose } from "../../../ir/chooseFlash.ts"
import * as Limits from "../../../ir/Limits.ts"
import { agree } from "../../support/agree.ts"
import {
  causal,
  flashText,
  schedulesOf,
  small,
  smallDecode,
  smallDecodeQuads,
  smallDecodeShared,
  smallQuads,
  smallShort,
  smallStaged
} from "../../support/flashText.ts"

const variants = [
  ["registers", small],
  ["quads", smallQuads],
  ["workgroup", smallStaged],
  ["decode", smallDecode],
  ["decode, shared rows", smallDecodeShared],
  ["decode, rows of neighbours", smallDecodeQuads],
  ["short", smallShort]
] as const

const run = (text: string, sizes: { readonly [s: string]: number }, schedule: (typeof variants)[number][1]) =>
  agree(text, sizes, { kind: "cpu", schedules: schedulesOf(schedule) })

for (const [name, schedule] of variants) {
  test(`lengths around tiles, ${name}`, async () => {
    const text = flashText({ outputs: ["result", "lse"] })
    for (const T of [0, 1, 2, 4, 5]) for (const S of [0, 1, 3, 4, 5, 13]) await run(text, { T, S }, schedule)
  })

  test(`lengths around tiles, causal, ${name}`, async () => {
    const text = flashText({ ...causal, heads: [4, 2] })
    for (const T of [1, 2, 3, 4, 7]) for (const S of [0, 1, 4, 7]) await run(text, { T, S }, schedule)
  })

  test(`head sizes, ${name}`, async () => {
    for (const head of [
      [1, 1],
      [3, 3],
      [4, 9],
      [10, 3],
      [20, 4]
    ] as const) {
      await run(flashText({ ...causal, head }), { T: 4, S: 7 }, schedule)
    }
  })

  test(`groups of heads, ${name}`, async () => {
    for (const heads of [
      [2, 1],
      [3, 1],
      [8, 2],
      [8, 1]
    ] as const) {
      for (const T of [1, 3])
        await run(flashText({ ...causal, heads, sizes: [2, "T", "S"] }), { T, S: 5 }, schedule)
    }
  })
}

test("batch, heads and lengths may all be symbols", async () => {
  const text = flashText({ heads: ["3*H", "H"], sizes: ["B", "T", "S"] })
  await run(text, { B: 2, H: 2, T: 3, S: 5 }, small)
  await run(text, { B: 1, H: 1, T: 1, S: 6 }, smallDecode)
})

test("the head sizes of models, on the prefill tiles that are chosen", async () => {
  const chosen = (kind: "cpu" | "gpu", D: number, E: number) =>
    schedulesOf({ ...choose({ ...Limits.portable, kind }, D, E, 4), decodeRows: 0 })
  const heads = [4, 1] as const
  for (const [D, E, T, S] of [
    [64, 64, 18, 19],
    [80, 96, 5, 17],
    [128, 128, 17, 5],
    [192, 256, 2, 9]
  ] as const) {
    const text = flashText({ ...causal, heads, head: [D, E] })
    await agree(text, { T, S }, { kind: "cpu", schedules: chosen("cpu", D, E) })
  }
  const text = flashText({ ...causal, heads, head: [64, 64] })
  await agree(text, { T: 17, S: 33 }, { kind: "gpu", schedules: chosen("gpu", 64, 64) })
})

test("the decode tiles that are chosen", async () => {
  await agree(flashText({ heads: [4, 1], head: [64, 64] }), { T: 1, S: 513 }, { kind: "cpu" })
})

test("more workgroups than one dimension of a dispatch holds", async () => {
  const text = flashText({ sizes: ["B", "T", "S"], heads: [1, 1], head: [1, 1] })
  await run(text, { B: 65_600, T: 1, S: 2 }, small)
})
