/** NaN and infinity in attention: on every backend they come out of what takes part, and of nothing else. */
import { describe, expect, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import * as HostArray from "../../ir/HostArray.ts"
import * as Shape from "../../ir/Shape.ts"
import * as arrays from "../support/arrays.ts"
import { graphOf } from "../support/evaluate.ts"
import {
  type Attention,
  causal,
  flashText,
  schedulesOf,
  small,
  smallDecode,
  smallDecodeShared,
  smallQuads,
  smallStaged
} from "../support/flashText.ts"
import { compiled } from "../support/onWasm.ts"
import { runGraph } from "../support/runProgram.ts"
import { expectOutputs } from "../support/tolerance.ts"

const fromData = {
  captures: { seen: "bool[S]", sinks: "f32[2]" },
  mask: ["%own: bool[] = load %seen, %j"]
} satisfies Attention
const sink = ["%sink: f32[] = load %sinks, %h"]

const programs: { readonly [name: string]: Attention } = {
  "causal, hidden by -inf": causal,
  "causal, hidden by -1e9": { ...causal, fill: "-1e9" },
  "causal, hidden by a score near others": { ...causal, fill: "-20" },
  "data hides by -1e9": { ...fromData, fill: "-1e9" },
  "data hides by -1e9, sinks": { ...fromData, sink, fill: "-1e9" },
  "data hides by -inf, sinks": { ...fromData, sink },
  "weights are scores": { ...causal, normaliser: "none" }
}

const sizes = [
  { T: 2, S: 3 },
  { T: 5, S: 13 },
  { T: 6, S: 300 },
  { T: 40, S: 37 },
  { T: 3, S: 0 }
]

const specials = [NaN, Infinity, -Infinity]

/** Inputs, some with a few numbers that are none, and scores so far apart that weights round to 0. */
const draw = (a: Attention, bindings: { readonly [name: string]: number }, seed: number) => {
  const from = arrays.random(seed)
  // Infinity times a weight that is subnormal, which devices may flush, is one thing or another: there it is NaN.
  const isFar = seed % 2 === 0
  return graphOf(flashText(a)).inputs.map(({ attrs: { name }, type }) => {
    const array = arrays.array(from, type.dtype, Shape.evaluate(type.shape, bindings), "uniform")
    const drawn = HostArray.toNumbers(array)
    // One draw in four hides every key.
    const hides = seed % 4 === 0
    const numbers =
      name === "seen"
        ? drawn.map(() => (!hides && from.integer(0, 1) === 1 ? 1 : 0))
        : drawn.map((x) => (name === "q" && isFar ? 400 * x : x))
    const spoiled =
      name === "v" ? 2 : (name === "sinks" && seed % 3 === 0) || (name === "k" && seed === 5) ? 1 : 0
    for (let n = 0; n < spoiled && numbers.length > 0; n++)
      numbers[from.integer(0, numbers.length - 1)] = from.pick(isFar ? [NaN] : specials)
    return HostArray.fromNumbers(type.dtype, array.shape, numbers)
  })
}

describe.each(Object.entries(programs))("%s", (_, a) => {
  const graph = graphOf(flashText(a))
  const expected = (inputs: ReadonlyArray<HostArray.HostArray>, bindings: (typeof sizes)[number]) =>
    Reference.evaluate(graph, inputs, bindings)
  const options = { exponent: 400, expected: "rounded" } as const
  const seeds = [1, 2, 3, 4, 5]

  test("WebAssembly, with vectors and without", async () => {
    for (const features of [{}, { simd: false }]) {
      const { run } = await compiled(graph, { ...features, threads: 1 })
      for (const bindings of sizes) {
        for (const seed of seeds) {
          const inputs = draw(a, bindings, seed)
          const actual = await run(inputs, bindings)
          expectOutputs(graph, bindings, actual, expected(inputs, bindings), options)
        }
      }
    }
  })

  test.each(Object.entries({ small, smallQuads, smallStaged, smallDecode, smallDecodeShared }))(
    "WebGPU, %s",
    async (_, schedule) => {
      for (const bindings of sizes) {
        if (bindings.T > 8 && schedule.decodeRows > 0) continue
        for (const seed of seeds) {
          const inputs = draw(a, bindings, seed)
          const actual = await runGraph(graph, inputs, bindings, "gpu", schedulesOf(schedule)(graph))
          expectOutputs(graph, bindings, actual, expected(inputs, bindings), options)
        }
      }
    }
  )
})

test("numbers that are none occur", () => {
  const inputs = draw(causal, sizes[1] as (typeof sizes)[number], 1)
  expect(inputs.some((x) => HostArray.toNumbers(x).some((n) => !Number.isFinite(n)))).toBe(true)
})
