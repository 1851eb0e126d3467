import { expect, test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { agree } from "../../support/agree.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  anyKey,
  causal,
  flashText,
  schedulesOf,
  small,
  smallDecode,
  smallStaged,
  window
} from "../../support/flashText.ts"
import { runGraph } from "../../support/runProgram.ts"

const schedules = [small, smallStaged, smallDecode]

const everywhere = async (
  attention: Attention,
  sizes: { readonly [s: string]: number },
  captures: ReadonlyArray<HostArray.HostArray> = []
): Promise<void> => {
  const text = flashText(attention)
  const graph = graphOf(text)
  const from = arrays.random(11)
  const qkv = graph.inputs.slice(0, 3).map((i) =>
    arrays.array(
      from,
      i.type.dtype,
      i.type.shape.map((d) => sizes[d.key] ?? Number(d.key))
    )
  )
  for (const schedule of schedules) {
    await agree(text, sizes, { kind: "cpu", schedules: schedulesOf(schedule), inputs: [...qkv, ...captures] })
  }
}

const bools = (shape: ReadonlyArray<number>, of: (i: number) => boolean): HostArray.HostArray =>
  HostArray.fromNumbers(
    "bool",
    shape,
    Float64Array.from({ length: HostArray.sizeOf(shape) }, (_, i) => (of(i) ? 1 : 0))
  )

const ints = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>): HostArray.HostArray =>
  HostArray.fromNumbers("i32", shape, Float64Array.from(values))

const heads = [4, 2] as const

test("causal, with and without what mask analysis knows", async () => {
  const { mask } = causal
  await everywhere({ heads, mask }, { T: 7, S: 7 })
  await everywhere({ heads, mask, range: anyKey }, { T: 2, S: 9 })
  await everywhere({ heads, ...causal, outputs: ["result", "lse"] }, { T: 9, S: 5 })
})

test("a sliding window", async () => {
  await everywhere({ heads, ...window(3) }, { T: 13, S: 13 })
  await everywhere({ heads, ...window(1), outputs: ["result", "lse"] }, { T: 3, S: 13 })
  await everywhere({ heads: [1, 1], ...window(6) }, { T: 23, S: 23 })
})

test("a range that depends on the head is the union over the group", async () => {
  // Head h sees keys 2h ... 2h + 3.
  const own = [
    "%two: i32[] = constant {values = [2]}",
    "%four: i32[] = constant {values = [4]}",
    "%from: i32[] = mul %h, %two",
    "%to: i32[] = add %from, %four"
  ]
  await everywhere(
    {
      heads,
      mask: [...own, "%a: bool[] = ge %j, %from", "%b1: bool[] = lt %j, %to", "%seen: bool[] = and %a, %b1"],
      range: [
        ...own,
        "%none: i32[] = constant {values = [0]}",
        "%lo: i32[] = add %from, %none",
        "%hi: i32[] = add %to, %none",
        "%fullLo: i32[] = add %from, %none",
        "%fullHi: i32[] = add %to, %none"
      ]
    },
    { T: 3, S: 11 }
  )
})

test("padding: keys past a length that is data", async () => {
  const padding: Attention = {
    heads,
    sizes: [3, "T", "S"],
    captures: { lengths: "i32[3]" },
    mask: ["%length: i32[] = load %lengths, %b", "%seen: bool[] = lt %j, %length"],
    outputs: ["result", "lse"]
  }
  const range = [
    "%lo: i32[] = constant {values = [0]}",
    "%hi: i32[] = load %lengths, %b",
    "%fullLo: i32[] = constant {values = [0]}",
    "%one: i32[] = constant {values = [1]}",
    "%fullHi: i32[] = mul %hi, %one"
  ]
  const lengths = [ints([3], [5, 0, 9])]
  await everywhere(padding, { T: 3, S: 9 }, lengths)
  await everywhere({ ...padding, range }, { T: 1, S: 9 }, lengths)
})

test("a tensor of booleans, and documents by their numbers", async () => {
  const [T, S] = [5, 7]
  const keep = bools([T, S], (i) => i % 3 !== 0 && Math.floor(i / S) !== 2)
  await everywhere(
    {
      heads,
      captures: { keep: "bool[T, S]" },
      mask: ["%seen: bool[] = load %keep, %i, %j"],
      outputs: ["result", "lse"]
    },
    { T, S },
    [keep]
  )
  await everywhere(
    {
      heads,
      captures: { ids: "i32[1, S]" },
      mask: [
        "%mine: i32[] = load %ids, %b, %i",
        "%its: i32[] = load %ids, %b, %j",
        "%seen: bool[] = eq %mine, %its"
      ]
    },
    { T: S, S },
    [ints([1, S], [0, 0, 1, 1, 1, 2, 2])]
  )
})

test("what a mask hides cannot be seen, not even as NaN or infinity", async () => {
  const attention: Attention = { heads: [1, 1], ...causal, head: [4, 4] }
  const graph = graphOf(flashText(attention))
  const [T, S] = [6, 6]
  const from = arrays.random(3)
  const [q, k, v] = [0, 1, 2].map(() => arrays.array(from, "f32", [1, 1, S, 4])) as [
    HostArray.HostArray<"f32">,
    HostArray.HostArray<"f32">,
    HostArray.HostArray<"f32">
  ]
  const poisoned = (a: HostArray.HostArray<"f32">, row: number, x: number): HostArray.HostArray<"f32"> => {
    const data = a.data.slice()
    data.fill(x, row * 4, row * 4 + 4)
    return { ...a, data }
  }
  for (const schedule of schedules) {
    const run = async (inputs: ReadonlyArray<HostArray.HostArray>) =>
      (await runGraph(graph, inputs, { T, S }, "cpu", schedulesOf(schedule)(graph)))[0]?.data as Float32Array
    const clean = await run([q, k, v])
    for (const x of [Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const inputs of [
        [q, poisoned(k, 3, x), v],
        [q, k, poisoned(v, 3, x)]
      ]) {
        const seen = await run(inputs)
        expect(seen.subarray(0, 12)).toEqual(clean.subarray(0, 12))
        for (const y of seen.subarray(12)) expect(Number.isFinite(y)).toBe(false)
      }
    }
  }
})
