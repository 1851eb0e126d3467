import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import { choose } from "../../../ir/chooseFlash.ts"
import { all } from "../../../ir/flashSchedules.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Limits from "../../../ir/Limits.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Tolerance from "../../../ir/Tolerance.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  causal,
  flashText,
  schedulesOf,
  smallShort,
  smallStaged
} from "../../support/flashText.ts"
import { planOf } from "../../support/plans.ts"
import { runGraph, validate } from "../../support/runProgram.ts"

/** Products in f16. Where the device has none each operation is rounded to f16, and what is below its normal numbers flushed. */

const inHalf = {
  ...smallStaged,
  prefill: { ...smallStaged.prefill, keys: 8, arithmetic: "f16" }
} as const satisfies Flash

const run = async (
  attention: Attention,
  sizes: { readonly T: number; readonly S: number },
  number: (name: string, index: number, normal: () => number) => number,
  schedule: Flash = inHalf
) => {
  const graph = graphOf(flashText({ dtype: "f16", resultDtype: "f32", ...attention }))
  const from = arrays.random(5)
  const inputs = graph.inputs.map(({ type, attrs }) => {
    const shape = Shape.evaluate(type.shape, sizes)
    const numbers = Float64Array.from({ length: HostArray.sizeOf(shape) }, (_, i) =>
      number(attrs.name, i, from.normal)
    )
    return HostArray.fromNumbers(type.dtype, shape, numbers)
  })
  const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
  const actual = await runGraph(graph, inputs, sizes, "gpu", schedulesOf(schedule)(graph))
  return (options: Tolerance.Options) =>
    Tolerance.of(graph, sizes, options).map((tolerance, i) =>
      Tolerance.compare(actual[i] as HostArray.HostArray, expected[i] as HostArray.HostArray, tolerance)
    )
}

const fine = (compared: ReadonlyArray<Tolerance.Comparison>): void => {
  for (const { ok, message } of compared) expect(ok, message).toBe(true)
}

const wide = { ...causal, heads: [4, 2], head: [68, 20], outputs: ["result", "lse"] } as const
const float32 = { arithmetic: "f32" } as const
const half = { arithmetic: "f16" } as const

describe.each([
  ["many rows", { T: 11, S: 21 }, inHalf],
  ["few rows, keys split", { T: 3, S: 21 }, { ...smallShort, short: inHalf.prefill }]
] as const)("%s", (_, sizes, schedule) => {
  test("ordinary numbers are multiplied in f16: right within its tolerance, not within that of float32", async () => {
    const compared = await run(wide, sizes, (_, __, normal) => normal(), schedule)
    fine(compared(half))
    expect(compared(float32).some(({ ok }) => !ok)).toBe(true)
  })

  // Of keys and queries of one magnitude that f16 has no room beside: logits stay what they are.
  test.each([
    ["keys that overflow", 1, 1e4, 2 ** -12],
    ["queries that overflow", 1e4, 1, 2 ** -12],
    ["keys that are flushed", 1, 2 ** -16, 2 ** 16],
    ["keys and queries that are flushed", 2 ** -8, 2 ** -8, 2 ** 16]
  ])("%s are multiplied in float32", async (_, ofQueries, ofKeys, scale) => {
    const score = [`%scale: f32[] = constant {values = [${scale}]}`, "%s: f32[] = mul %logit, %scale"]
    const magnitudes: { readonly [name: string]: number } = { q: ofQueries, k: ofKeys, v: 300 }
    const compared = await run(
      { ...wide, score },
      sizes,
      (name, _, normal) => normal() * (magnitudes[name] as number),
      schedule
    )
    fine(compared({ ...float32, exponent: 40 }))
  })

  test("values that f16 has no room for, zeros, and the largest numbers there are", async () => {
    for (const v of [2 ** -20, 0, 65504, 127]) {
      const compared = await run(
        wide,
        sizes,
        (name, i, normal) => (name === "v" ? v * (i % 3 === 0 ? -1 : 1) : normal()),
        schedule
      )
      fine(compared(half))
    }
    const largest = await run(wide, sizes, (_, i) => (i % 2 === 0 ? 65504 : -65504), schedule)
    fine(largest({ ...half, exponent: 65504 ** 2 * 68 }))
  })

  test("an infinite value in rows of an odd length, which are not copied as they are stored", async () => {
    const compared = await run(
      { heads: [2, 1], head: [17, 33] },
      sizes,
      (name, i, normal) => (name === "v" && i === 8 ? Infinity : normal()),
      schedule
    )
    fine(compared(half))
  })

  test("a value that is no number reaches every row that sees it, however small its weight is", async () => {
    const score = ["%far: f32[] = constant {values = [-90]}", "%s: f32[] = mul %logit, %far"]
    const compared = await run(
      { ...wide, heads: [1, 1], head: [4, 4], outputs: ["result"], score },
      sizes,
      (name, i) => (name === "v" ? (i === 5 ? Number.NaN : 1) : name === "k" && i >> 2 === 1 ? 1 : 0.5),
      schedule
    )
    fine(compared({ ...half, exponent: 400 }))
  })

  // Sixteen times sixteen, eight of them in a lane: f16 holds each of these sums.
  test("logits of 16384 are exact where f16 holds their parts", async () => {
    const score = ["%zero: f32[] = constant {values = [0]}", "%s: f32[] = add %logit, %zero"]
    const numbers = (name: string, i: number): number =>
      name === "v" ? i % 7 : (i >> 6) % 5 === 0 ? -16 : 16
    const compared = await run(
      { ...wide, head: [64, 20], score, outputs: ["result", "max"] },
      sizes,
      numbers,
      schedule
    )
    fine(compared({ ...float32, exponent: 1 }))
  })

  test("tiles of little weight count beside one that has all but all of it", async () => {
    const score = ["%zero: f32[] = constant {values = [0]}", "%s: f32[] = add %logit, %zero"]
    // The first key has weight 1, all others e^-16, which f16 would flush. Values of the first tile are 0, of the others 1.
    const numbers = (name: string, i: number): number =>
      name === "q" ? 1 : name === "k" ? (i % (40 * 8) < 8 ? 2 : 0) : i % (40 * 8) < 64 ? 0 : 1
    const compared = await run({ heads: [2, 2], head: [8, 8], score }, { T: 3, S: 40 }, numbers, schedule)
    fine(compared({ ...half, exponent: 16 }))
  })

  test("NaN and infinities go where they go in float32, and no farther", async () => {
    const cases: ReadonlyArray<readonly [name: string, at: number, value: number]> = [
      ["q", 70, NaN],
      ["k", 130, NaN],
      ["k", 131, Infinity],
      ["v", 25, NaN],
      ["v", 26, Infinity],
      ["v", 27, -Infinity]
    ]
    for (const [where, at, value] of cases) {
      const compared = await run(
        wide,
        sizes,
        (name, i, normal) => (name === where && i === at ? value : normal()),
        schedule
      )
      fine(compared(half))
    }
  })

  test("rows without keys, no keys, no rows", async () => {
    const never = { mask: ["%two: i32[] = constant {values = [2]}", "%seen: bool[] = gt %i, %two"] }
    for (const lengths of [sizes, { T: 3, S: 0 }, { T: 0, S: 3 }, { T: 1, S: 1 }]) {
      const attention = { head: [20, 7], outputs: ["result", "lse", "max", "sum"], ...never } as const
      fine((await run(attention, lengths, (_, __, normal) => normal(), schedule))(half))
    }
  })
})

test("what is not stored as f16 is multiplied in float32, whatever the schedule says", () => {
  const limits = { ...Limits.portable, shaderF16: true }
  const kernelOf = (dtype: string): string => {
    const graph = graphOf(flashText({ dtype }))
    return lower(planOf(graph, schedulesOf(inHalf)(graph)), limits)
      .kernels.map((k) => k.wgsl)
      .join()
  }
  expect(kernelOf("f16")).toContain("fma(")
  for (const dtype of ["f32", "bf16"]) expect(kernelOf(dtype)).not.toContain("f16>")
})

test("tiles that stay f16 take half the bytes, so that there is room for more", () => {
  const cut = (kilobytes: number, D: number, arithmetic: "f32" | "f16"): string => {
    const limits = { ...Limits.portable, maxComputeWorkgroupStorageSize: 1024 * kilobytes }
    const { prefill } = choose(limits, D, D, 4, arithmetic)
    return `${prefill.rows} x ${prefill.keys}`
  }
  for (const [kilobytes, D, f32, f16] of [
    [16, 64, "64 x 16", "64 x 32"],
    [16, 128, "64 x 16", "64 x 16"],
    [16, 192, "32 x 16", "64 x 16"],
    [16, 256, "32 x 8", "32 x 16"],
    [32, 192, "64 x 16", "64 x 32"]
  ] as const)
    expect([cut(kilobytes, D, "f32"), cut(kilobytes, D, "f16")]).toEqual([f32, f16])
})

test("a compiler front end accepts tiles in f16 for each head size from 1 to 256", async () => {
  const limits = { ...Limits.portable, shaderF16: true }
  const others: ReadonlyArray<Attention> = [
    { ...causal, outputs: ["result", "lse"] },
    { normaliser: "none" },
    {
      captures: { keep: "f16[T, S]" },
      probability: ["%x: f16[] = load %keep, %i, %j", "%f: f32[] = cast %x"]
    },
    { more: [[1, 1, 24]], score: ["%sum: f32[] = add %logit, %logit1"], outputs: ["max"] }
  ]
  const from = arrays.random(2)
  for (let size = 1; size <= 256; size++) {
    const head = [size, from.integer(1, 256)] as const
    const attention = { ...others[size % others.length], head, heads: [4, 2], dtype: "f16" } as const
    const sizesOf = [size, ...(attention.more ?? []).map((m) => Number(m[2]))]
    const prefills = all("prefill", limits, sizesOf, head[1], "f16")
    const { prefill } = from.pick(prefills)
    const schedule: Flash = { ...smallStaged, prefill, short: from.pick(prefills).prefill }
    const graph = graphOf(flashText(attention))
    const program = lower(planOf(graph, schedulesOf(schedule)(graph)), limits)
    expect(program.kernels.some((k) => k.requires.f16 === true)).toBe(true)
    await validate(program)
  }
})
