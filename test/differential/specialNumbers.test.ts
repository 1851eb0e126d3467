/** NaN and infinity in attention: on every backend they come out of what takes part, and of nothing else. */
import { describe, expect, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import * as HostArray from "../../ir/HostArray.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Tolerance from "../../ir/Tolerance.ts"
import * as arrays from "../support/arrays.ts"
import { graphOf } from "../support/evaluate.ts"
import {
  type Attention,
  causal,
  flashText,
  schedulesOf,
  small,
  smallDecode,
  smallDecodeQuads,
  smallDecodeShared,
  smallQuads,
  smallStaged
} from "../support/flashText.ts"
import { input, outputsOf } from "../support/irText.ts"
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

  test.each(
    Object.entries({ small, smallQuads, smallStaged, smallDecode, smallDecodeShared, smallDecodeQuads })
  )("WebGPU, %s", async (_, schedule) => {
    for (const bindings of sizes) {
      if (bindings.T > 8 && schedule.decodeRows > 0) continue
      for (const seed of seeds) {
        const inputs = draw(a, bindings, seed)
        const actual = await runGraph(graph, inputs, bindings, "gpu", schedulesOf(schedule)(graph))
        expectOutputs(graph, bindings, actual, expected(inputs, bindings), options)
      }
    }
  })
})

describe("visible scores that lie both sides of where a fill becomes negligible", () => {
  const scores = {
    "scores of the last split": { fill: -100, low: 3, high: 6, sinks: -9, hidden: 1 },
    sinks: { fill: -100, low: 3, high: 3, sinks: 6, hidden: 1 },
    // Numbers there are 64 apart, and 104 above the fill is none of them.
    "a fill so large that it rounds": {
      fill: -1e9,
      low: -1e9 + 128,
      high: -1e9 + 128,
      sinks: -1e9,
      hidden: NaN
    }
  }
  test.each(Object.entries(scores))("%s", async (_, { fill, low, high, sinks, hidden }) => {
    const own: Attention = {
      captures: { scores: "f32[S]", seen: "bool[S]", sinks: "f32[2]" },
      score: ["%score: f32[] = load %scores, %j"],
      mask: fromData.mask,
      sink,
      fill: String(fill)
    }
    const graph = graphOf(flashText(own))
    for (const bindings of sizes) {
      const from = arrays.random(bindings.S)
      const inputs = graph.inputs.map(({ attrs: { name }, type }) => {
        const shape = Shape.evaluate(type.shape, bindings)
        const drawn = arrays.array(from, type.dtype, shape, "uniform")
        const chosen: { readonly [name: string]: (i: number) => number } = {
          scores: (i) => (i < 256 ? low : high),
          seen: (i) => (i % 5 === 3 ? 0 : 1),
          sinks: () => sinks
        }
        if (name === "v") {
          const width = shape[3] as number
          const values = HostArray.toNumbers(drawn)
          const isSeen = (i: number): boolean => (Math.floor(i / width) % bindings.S) % 5 !== 3
          return HostArray.fromNumbers(
            type.dtype,
            shape,
            values.map((x, i) => (isSeen(i) ? x : x * hidden))
          )
        }
        const number = chosen[name]
        return number
          ? HostArray.fromNumbers(
              type.dtype,
              shape,
              HostArray.toNumbers(drawn).map((_, i) => number(i))
            )
          : drawn
      })
      const expected = Reference.evaluate(graph, inputs, bindings)
      for (const features of [{}, { simd: false }]) {
        const { run } = await compiled(graph, { ...features, threads: 1 })
        expectOutputs(graph, bindings, await run(inputs, bindings), expected)
      }
      for (const schedule of [small, smallDecode, smallDecodeShared, smallDecodeQuads]) {
        if (bindings.T > 8 && schedule.decodeRows > 0) continue
        const actual = await runGraph(graph, inputs, bindings, "gpu", schedulesOf(schedule)(graph))
        expectOutputs(graph, bindings, actual, expected)
      }
    }
  })
})

/** Numbers at which functions of one and two numbers change their way, and quotients that no float holds. */
const edges = [
  ...[
    NaN,
    Infinity,
    -Infinity,
    0,
    -0,
    1,
    -1,
    0.1,
    0.5,
    -1.5,
    3,
    -70,
    71,
    -71,
    65504,
    131072,
    16777217,
    1e-10
  ],
  ...[2 ** -126, 1e20, -1e20, 3.4028234663852886e38, -3.4028234663852886e38]
]

describe("one number and two", () => {
  const [type, square] = [`f32[${edges.length}]`, `f32[${edges.length}, ${edges.length}]`]
  const one = ["sign", "floor", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tanh", "erf", "sigmoid"]
  const two = ["add", "sub", "mul", "div", "floor_div", "mod", "pow", "min", "max"]
  const graph = graphOf(
    outputsOf(
      [input(type), input(`f32[${edges.length}, 1]`, "y")],
      [
        ...one.map((op) => [op, `${type} = ${op} %x`] as const),
        ...two.map((op) => [op, `${square} = ${op} %x, %y`] as const)
      ]
    )
  )
  const x = HostArray.fromNumbers("f32", [edges.length], edges)
  const y = HostArray.fromNumbers("f32", [edges.length, 1], edges)
  const expected = Reference.evaluate(graph, [x, y], {})
  /** NaN and infinities as they are, others element by element: the largest is no measure for the rest. */
  const alike = (actual: ReadonlyArray<HostArray.HostArray>): void => {
    const tolerances = Tolerance.of(graph, {}, { exponent: 128, expected: "rounded" })
    graph.outputs.forEach(({ name }, n) => {
      const [a, e] = [actual[n], expected[n]] as [HostArray.HostArray, HostArray.HostArray]
      const wanted = HostArray.toNumbers(e)
      HostArray.toNumbers(a).forEach((found, i) => {
        const own = (value: number) => HostArray.fromNumbers("f32", [1], [value])
        const { ok, message } = Tolerance.compare(
          own(found),
          own(wanted[i] as number),
          tolerances[n] as Tolerance.Tolerance
        )
        const given = [edges[i % edges.length], edges[Math.floor(i / edges.length)]].join(", ")
        expect(ok, `${name}(${given}): ${message}`).toBe(true)
      })
    })
  }

  test.each([
    ["vectors", {}],
    ["words", { simd: false }]
  ])("WebAssembly, %s", async (_, features) => {
    const { run } = await compiled(graph, { ...features, threads: 1 })
    alike(await run([x, y], {}))
  })

  test("WebGPU", async () => alike(await runGraph(graph, [x, y], {})))
})

test("numbers that are none occur", () => {
  const inputs = draw(causal, sizes[1] as (typeof sizes)[number], 1)
  expect(inputs.some((x) => HostArray.toNumbers(x).some((n) => !Number.isFinite(n)))).toBe(true)
})
