import { expect, test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { agree } from "../../support/agree.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  causal,
  flashText,
  schedulesOf,
  small,
  smallDecode,
  smallDecodeQuads,
  smallStaged,
  window
} from "../../support/flashText.ts"
import { runGraph } from "../../support/runProgram.ts"

const schedules = [small, smallStaged, smallDecode, smallDecodeQuads]
const outputs = ["result", "lse"] as const

const everywhere = async (attention: Attention, sizes: { readonly [s: string]: number }): Promise<void> => {
  for (const schedule of schedules) {
    await agree(flashText({ outputs, ...attention }), sizes, {
      kind: "cpu",
      schedules: schedulesOf(schedule)
    })
  }
}

/** No row sees key 0 to 3, and rows from 2 on see nothing at all. */
const emptying: Attention = {
  mask: [
    "%four: i32[] = constant {values = [4]}",
    "%two: i32[] = constant {values = [2]}",
    "%a: bool[] = ge %j, %four",
    "%c: bool[] = lt %i, %two",
    "%seen: bool[] = and %a, %c"
  ],
  range: [
    "%zero: i32[] = constant {values = [0]}",
    "%two: i32[] = constant {values = [2]}",
    "%size: i32[] = dim {value = S}",
    "%lo: i32[] = constant {values = [4]}",
    "%none: bool[] = ge %first, %two",
    "%hi: i32[] = select %none, %zero, %size",
    "%mixed: bool[] = ge %last, %two",
    "%fullLo: i32[] = constant {values = [4]}",
    "%fullHi: i32[] = select %mixed, %zero, %size"
  ]
}

test("rows without keys give 0, and -inf", async () => {
  await everywhere({ ...emptying, heads: [2, 1] }, { T: 4, S: 11 })
  const graph = graphOf(flashText({ ...emptying, outputs }))
  for (const schedule of schedules) {
    const from = arrays.random(1)
    const inputs = [5, 11, 11].map((n) => arrays.array(from, "f32", [1, 2, n, 8]))
    const [result, lse] = await runGraph(graph, inputs, { T: 5, S: 11 }, "cpu", schedulesOf(schedule)(graph))
    expect([...(result as HostArray.HostArray<"f32">).data.subarray(16, 40)]).toEqual(new Array(24).fill(0))
    expect([...(lse as HostArray.HostArray<"f32">).data.subarray(2, 5)]).toEqual(new Array(3).fill(-Infinity))
  }
})

for (const fill of ["-1e9", "-3.4028234663852886e38"]) {
  test(`masked keys take part with a score of ${fill}`, async () => {
    await everywhere({ ...emptying, heads: [2, 1], fill, outputs: ["result"] }, { T: 4, S: 14 })
  })
}

test("masked keys take part with a score as large as the others", async () => {
  for (const fill of ["-2.5", "0"]) {
    await everywhere({ ...window(2), heads: [4, 2], fill }, { T: 2, S: 14 })
    await everywhere({ ...window(2), fill, outputs: ["result"] }, { T: 9, S: 9 })
  }
  await everywhere({ mask: causal.mask, fill: "-2.5", outputs: ["result"] }, { T: 3, S: 9 })
})

test("a row that is masked throughout gives the mean of v under a finite fill", async () => {
  const text = flashText({ ...emptying, fill: "-1e9" })
  const graph = graphOf(text)
  const S = 11
  const inputs = [5, S, S].map((n) => arrays.array(arrays.random(n), "f32", [1, 2, n, 8]))
  const v = (inputs[2] as HostArray.HostArray<"f32">).data
  for (const schedule of schedules) {
    const [result] = await runGraph(graph, inputs, { T: 5, S }, "cpu", schedulesOf(schedule)(graph))
    for (let e = 0; e < 8; e++) {
      let mean = 0
      for (let j = 0; j < S; j++) mean += (v[j * 8 + e] as number) / S
      expect((result as HostArray.HostArray<"f32">).data[4 * 8 + e]).toBeCloseTo(mean, 5)
    }
  }
})

test("sinks join the sum and nothing else", async () => {
  const sinks = { captures: { sinks: "f32[2]" }, sink: ["%z: f32[] = load %sinks, %h"] } satisfies Attention
  for (const values of [
    [0.5, -3],
    [40, -Infinity]
  ]) {
    for (const attention of [causal, { ...emptying, fill: "-1e9" }]) {
      const graph = graphOf(flashText({ outputs, ...attention, ...sinks }))
      for (const schedule of schedules) {
        const from = arrays.random(5)
        const inputs = [4, 7, 7].map((n) => arrays.array(from, "f32", [1, 2, n, 8]))
        const sink = HostArray.fromNumbers("f32", [2], Float64Array.from(values))
        await agree(
          graph,
          { T: 4, S: 7 },
          { kind: "cpu", schedules: schedulesOf(schedule), inputs: [...inputs, sink] }
        )
      }
    }
  }
})
