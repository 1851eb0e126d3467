import { Result } from "effect"
import { describe, expect, test } from "vitest"
import type { Plan } from "../../../backends/Backend.ts"
import * as Reference from "../../../backends/reference/Reference.ts"
import { mostOfFew, standard, type Tiles } from "../../../backends/wasm/flash/Tiles.ts"
import { limits } from "../../../backends/wasm/limits.ts"
import * as Program from "../../../backends/wasm/Program.ts"
import * as Half from "../../../ir/Half.ts"
import type * as HostArray from "../../../ir/HostArray.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { all, cases, lengths, ofLengths } from "../../support/flashCases.ts"
import { type Attention, anyKey, causal, flashText, window } from "../../support/flashText.ts"
import { agree, compiled } from "../../support/onWasm.ts"
import { expectOutputs } from "../../support/tolerance.ts"
import { backwards, byHand, uneven } from "../../support/wasmByHand.ts"

describe("attention, at any lengths by the same kernels", () => {
  test.each(Object.entries(cases))("%s", (_, attention) => agree(flashText(attention), lengths))

  test.each(["plain", "causal", "sinks", "factors on weights"])("%s, without relaxed instructions", (name) =>
    agree(flashText(cases[name] as Attention), lengths, { relaxed: false })
  )

  test.each([
    [300, 513, "f32"],
    [576, 512, "f16"]
  ] as const)("heads of %i and %i elements, %s", (D, E, dtype) =>
    agree(flashText(all({ ...causal, heads: [4, 1], head: [D, E], dtype })), [
      { T: 3, S: 7 },
      { T: 40, S: 70 }
    ])
  )

  test.each(["f32", "f16"])(
    "values of five panels, %s: some at a time, and rows that are left over",
    (dtype) =>
      agree(flashText({ heads: [5, 1], head: [8, 40], dtype }), [
        { T: 1, S: 97 },
        { T: 3, S: 40 }
      ])
  )

  test("logits that are infinite", () =>
    agree(flashText(all({ score: ["%x: f32[] = add %logit, %logit"] })), lengths, { data: "holes" }))
})

/** Small, so that few keys already make several tiles, splits and blocks; and one with which most keys make one. */
const cuts: ReadonlyArray<Tiles> = [
  { rows: 6, keys: 8, split: 8 },
  { rows: 6, keys: 16, split: 48 },
  { rows: 18, keys: 8, split: 24 },
  { rows: 12, keys: 24, split: 24 },
  { rows: 72, keys: 64, split: 128 }
]

/** All that small numbers make, and what calls get. */
const everyCut: ReadonlyArray<Tiles> = [
  standard,
  ...[6, 12, 18, 24, 36].flatMap((rows) =>
    [8, 16, 24, 32, 40, 48].flatMap((keys) =>
      [1, 2, 3].map((times) => ({ rows, keys, split: times * Math.min(keys, mostOfFew) }))
    )
  )
]

const pipeline = Result.getOrThrow(Pipeline.parse("fuse-elementwise,plan-memory"))

/** As kernels: results of one attention are computed together. */
const planned = (text: string): Plan => {
  const { graph, memory } = Result.getOrThrow(Pipeline.run(pipeline, graphOf(text), { limits }))
  return { graph, schedules: new Map(), memory: memory as Plan["memory"] }
}

/** Calls at all lengths, each with what the float64 oracle makes of it. */
const callsOf = (attention: Attention) => {
  const graph = graphOf(flashText(attention))
  return [...lengths, { T: 2, S: 97 }].map((sizes, n) => {
    const from = arrays.random(3 + n)
    const inputs = graph.inputs.map((i) =>
      arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
    )
    const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
    return { graph, sizes, inputs, expected }
  })
}

const hold = async (attention: Attention, cuts: ReadonlyArray<Tiles>): Promise<void> => {
  const calls = callsOf(attention)
  for (const tiles of cuts) {
    const { program, run } = byHand(planned(flashText(attention)), tiles)
    for (const { graph, sizes, inputs, expected } of calls) {
      const [T, S] = [0, 1].map((i) => inputs[i]?.shape[2]) as [number, number]
      const [queryHeads, keyHeads] = [0, 1].map((i) => inputs[i]?.shape[1]) as [number, number]
      const divided = S === 0 ? ["combine"] : ["decode", "combine"]
      const attending = (T * queryHeads) / keyHeads <= tiles.rows ? divided : ["flash"]
      const names = Program.steps(program, sizes).map((s) => program.kernels[s.kernel]?.name.split("_")[0])
      expect(names.filter((n) => n !== "pack" && n !== "map")).toEqual(T === 0 ? [] : attending)
      const actual = await run(inputs, sizes)
      expectOutputs(graph, sizes, actual, expected, { exponent: 8 })
      for (const divide of [backwards, uneven]) expect(await run(inputs, sizes, divide)).toEqual(actual)
    }
  }
}

describe("attention, however it is cut and divided", () => {
  test.each(Object.entries(cases))("%s", (_, attention) => hold(attention, cuts))

  test.each(["causal", "sinks"])("%s, by every cut", (name) => hold(cases[name] as Attention, everyCut))
})

/** q, k, v of one head: random, but for one key and its value, which are filled. */
const marked = (length: number, key: number, value: number): ReadonlyArray<HostArray.HostArray> => {
  const from = arrays.random(5)
  const [q, k, v] = [0, 1, 2].map(() => arrays.array(from, "f32", [1, 1, length, 8])) as [
    HostArray.HostArray<"f32">,
    HostArray.HostArray<"f32">,
    HostArray.HostArray<"f32">
  ]
  k.data.fill(key, 8 * 2, 8 * 3)
  v.data.fill(value, 8 * 2, 8 * 3)
  return [q, k, v]
}

test.each([1, 12, 40])(
  "%i queries: a score far below the others has no weight, however large its value",
  async (T) => {
    const filled = (shape: ReadonlyArray<number>, by: number) => ({
      dtype: "f32" as const,
      shape,
      data: new Float32Array(shape.reduce((a, b) => a * b)).fill(by)
    })
    const [q, k, v] = [filled([1, 1, T, 8], 1), filled([1, 1, 64, 8], 0), filled([1, 1, 64, 8], 2)]
    k.data.fill(-1e9, 8 * 3, 8 * 4)
    v.data[8 * 3] = 3e38
    await agree(flashText({ heads: [1, 1], sizes: [1, T, 64] }), [{}], { inputs: [q, k, v] })
  }
)

// Keys that are read where they lie, and keys that are packed.
describe.each([6, 70])("what is not a number stays with the pairs that see it, %i keys", (length) => {
  const run = (attention: Attention, inputs: ReadonlyArray<HostArray.HostArray>) =>
    agree(flashText({ heads: [1, 1], sizes: [1, length, length], ...attention }), [{}], { inputs })

  test.each([Number.NaN, Infinity, -Infinity])("a value of %s", async (value) => {
    for (const attention of [causal, window(2), { ...causal, fill: "-3" }] satisfies ReadonlyArray<Attention>)
      await run(attention, marked(length, 1, value))
    await run({ ...causal, normaliser: "none" }, marked(length, 1, value))
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
      marked(length, 1, value)
    )
  })
  test.each([Number.NaN, Infinity, -Infinity])("a key of %s", async (key) => {
    await run({ ...causal, outputs: ["result", "lse"] }, marked(length, key, 1))
    await run({ ...causal, normaliser: "none" }, marked(length, key, 1))
  })
  // A weight of 0 is a weight.
  test("weights of 0", () =>
    run(
      {
        ...causal,
        normaliser: "none",
        score: ["%zero: f32[] = constant {values = [0]}", "%x: f32[] = max %logit, %zero"]
      },
      marked(length, -1, Number.NaN)
    ))
})

describe.each([
  ["f16", Half.f16Value],
  ["bf16", Half.bf16Value]
] as const)("every number of 16 bits, %s", (dtype, valueOf) => {
  const all = Uint16Array.from({ length: 65536 }, (_, n) => n)
  const filled = (shape: ReadonlyArray<number>, bits: (n: number) => number) => ({
    dtype,
    shape,
    data: Uint16Array.from({ length: shape.reduce((a, b) => a * b) }, (_, n) => bits(n))
  })
  const one = dtype === "f16" ? Half.f16Bits(1) : Half.bf16Bits(1)
  test.each([1, 5])("as a value that %i queries see alone", async (T) => {
    const shape = [1024, 8, 1, 8]
    const { run } = await compiled(
      flashText({ dtype, resultDtype: "f32", sizes: [1024, T, 1], heads: [8, 8] })
    )
    const [result] = await run(
      [filled([1024, 8, T, 8], () => one), filled(shape, () => 0), filled(shape, (n) => n)],
      {}
    )
    const found = result?.data as Float32Array
    for (let t = 0; t < T; t++)
      expect(
        Float32Array.from(all, (n) => found[(Math.floor(n / 8) * T + t) * 8 + (n % 8)] as number)
      ).toEqual(Float32Array.from(all, (n) => valueOf(n) + 0))
  })
  test.each([1, 5])("as elements of a key that %i queries see alone", async (T) => {
    const shape = [8192, 8, 1, 12]
    const { run } = await compiled(
      flashText({ dtype, sizes: [8192, T, 1], heads: [8, 8], head: [12, 8], outputs: ["lse"] })
    )
    const [lse] = await run(
      [
        filled([8192, 8, T, 12], () => one),
        filled(shape, (n) => Math.floor(n / 12)),
        filled([8192, 8, 1, 8], () => 0)
      ],
      {}
    )
    // A quarter of twelve times the number. The sign of a 0 goes, for sums begin with 0.
    const found = lse?.data as Float32Array
    const known = Array.from(all).filter((n) => !(Math.abs(valueOf(n)) > 2 ** 120))
    for (let t = 0; t < T; t++)
      expect(Float32Array.from(known, (n) => found[n * T + t] as number)).toEqual(
        Float32Array.from(known, (n) => 3 * valueOf(n) + 0)
      )
  })
})

describe("ranges bound the keys that are visited", () => {
  /** A mask that hides nothing, so that what is not visited is missed. */
  const everything = ["%seen: bool[] = eq %j, %j"]
  const first16 = ["%lo: i32[] = constant {values = [16]}", "%hi: i32[] = constant {values = [43]}"]
  const inside = [
    ...first16,
    "%fullLo: i32[] = constant {values = [16]}",
    "%fullHi: i32[] = constant {values = [43]}"
  ]
  const visited = [
    "%a: i32[] = constant {values = [16]}",
    "%z: i32[] = constant {values = [43]}",
    "%after: bool[] = ge %j, %a",
    "%before: bool[] = lt %j, %z",
    "%seen: bool[] = and %after, %before"
  ]
  test.each([1, 3, 40])("%i queries", async (T) => {
    const sizes = { T, S: 100 }
    const from = arrays.random(11)
    const told = graphOf(flashText({ mask: visited }))
    const inputs = told.inputs.map((i) => arrays.array(from, "f32", Shape.evaluate(i.type.shape, sizes)))
    const expected = Reference.evaluate(told, inputs, sizes, { precision: "f64" })
    for (const range of [{ range: inside }, { range: anyKey, rowRange: inside }]) {
      const actual = await byHand(planned(flashText({ mask: everything, ...range }))).run(inputs, sizes)
      expectOutputs(told, sizes, actual, expected, { exponent: 8 })
    }
  })

  test.each([1, 3, 40])(
    "%i queries: where all rows see all keys of a tile, none asks the mask",
    async (T) => {
      const sizes = { T, S: 200 }
      const from = arrays.random(12)
      const end = "%z: i32[] = constant {values = [128]}"
      const told = graphOf(flashText({ mask: [end, "%seen: bool[] = lt %j, %z"] }))
      const inputs = told.inputs.map((i) => arrays.array(from, "f32", Shape.evaluate(i.type.shape, sizes)))
      const expected = Reference.evaluate(told, inputs, sizes, { precision: "f64" })
      // It hides everything, so that whoever asks it sees nothing.
      const mask = ["%seen: bool[] = ne %j, %j"]
      const range = [
        "%lo: i32[] = constant {values = [0]}",
        "%hi: i32[] = dim {value = S}",
        "%fullLo: i32[] = constant {values = [0]}",
        "%fullHi: i32[] = constant {values = [128]}"
      ]
      const actual = await byHand(planned(flashText({ mask, range }))).run(inputs, sizes)
      expectOutputs(told, sizes, actual, expected, { exponent: 8 })
    }
  )

  test("by the rows of a tile, each tile its own", async () => {
    const attention = { mask: everything, range: window(10).range }
    const sizes = { T: 100, S: 100 }
    const from = arrays.random(13)
    // What the window of the first of six rows to that of the last one shows.
    const tile = [
      "%six: i32[] = constant {values = [6]}",
      "%nine: i32[] = constant {values = [9]}",
      "%tile: i32[] = floor_div %i, %six",
      "%first: i32[] = mul %tile, %six",
      "%back: i32[] = sub %first, %nine"
    ]
    const told = graphOf(
      flashText({
        mask: [
          ...tile,
          "%five: i32[] = constant {values = [5]}",
          "%eight: i32[] = constant {values = [8]}",
          "%last: i32[] = add %first, %five",
          "%end: i32[] = dim {value = T - 1}",
          "%within: i32[] = min %last, %end",
          // Keys are looked at from the beginning of a panel on,
          "%panel: i32[] = floor_div %back, %eight",
          "%begin: i32[] = mul %panel, %eight",
          "%after: bool[] = ge %j, %begin",
          "%before: bool[] = le %j, %within",
          "%seen: bool[] = and %after, %before"
        ],
        // values from the first that is shown.
        probability: [
          ...tile,
          "%one: f32[] = constant {values = [1]}",
          "%none: f32[] = constant {values = [0]}",
          "%shown: bool[] = ge %j, %back",
          "%part: f32[] = select %shown, %one, %none"
        ]
      })
    )
    const inputs = told.inputs.map((i) => arrays.array(from, "f32", Shape.evaluate(i.type.shape, sizes)))
    const expected = Reference.evaluate(told, inputs, sizes, { precision: "f64" })
    const actual = await byHand(planned(flashText(attention))).run(inputs, sizes)
    expectOutputs(told, sizes, actual, expected, { exponent: 8 })
  })
})

test("keys and values that no row sees are not packed", async () => {
  const attention = { ...ofLengths, sizes: [3, 40, 100], dtype: "f16" } satisfies Attention
  const { program, run, slots } = byHand(planned(flashText(attention)))
  expect(program.kernels.map((k) => k.name)).toEqual(["pack", "pack", "flash"])
  const from = arrays.random(2)
  const inputs = [
    ...program.inputs
      .slice(0, 3)
      .map(({ type: { dtype, shape } }) => arrays.array(from, dtype, Shape.evaluate(shape, {}))),
    { dtype: "i32" as const, shape: [3], data: Int32Array.of(5, 64, 0) }
  ]
  await run(inputs, {})
  /** Keys up to the last that was written, of each head of each batch entry, which take so many. */
  const packed = (slot: number, keys: number): ReadonlyArray<number> =>
    Array.from({ length: 6 }, (_, n) => {
      const own = (slots()[slot] as Uint8Array).subarray(32 * keys * n, 32 * keys * (n + 1))
      return Math.ceil((own.findLastIndex((x) => x !== 0xff) + 1) / 32)
    })
  // Keys in panels of 8, values one by one.
  expect(packed(0, 104)).toEqual([8, 8, 64, 64, 0, 0])
  expect(packed(1, 100)).toEqual([5, 5, 64, 64, 0, 0])
})
