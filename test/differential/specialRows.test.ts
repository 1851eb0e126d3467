/** What a row says of itself where it holds NaN, infinities, or numbers of which parts overflow: the same on every backend. */
import { describe, expect, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { graphOf } from "../support/evaluate.ts"
import {
  type Attention,
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

const [inf, large] = [Infinity, 3.4028234663852886e38]

/** The last numbers of rows that begin with others. */
const ends = [
  [1, 2, inf, 3],
  [1, NaN, inf, 3],
  [inf, NaN, 1, 1],
  [-inf, -inf, -inf, -inf],
  [inf, inf, inf, inf],
  [-inf, inf, 1, 2],
  [large, 1, 2, 3],
  [1, 2, 3, NaN]
]

const rowsOf = (length: number, ends: ReadonlyArray<ReadonlyArray<number>>, start: number) =>
  HostArray.fromNumbers(
    "f32",
    [ends.length, length],
    ends.flatMap((end) => [...Array.from({ length: length - end.length }, () => start), ...end])
  )

describe.each([[["lse"]], [["max"]], [["sum"]], [["result", "lse"]], [["result", "lse", "max", "sum"]]])(
  "attention: %s",
  (outputs) => {
    const own: Attention = {
      captures: { scores: "f32[T, S]" },
      score: ["%score: f32[] = load %scores, %i, %j"],
      outputs: outputs as Attention["outputs"] & {}
    }
    const graph = graphOf(flashText(own))
    const lengths = [4, 37, 700]
    const drawn = (S: number) => {
      const shapes = { q: [1, 2, ends.length, 8], k: [1, 2, S, 8], v: [1, 2, S, 8] }
      const inputs = graph.inputs.map(({ attrs: { name } }) => {
        if (name === "scores") return rowsOf(S, ends, -5)
        const shape = shapes[name as keyof typeof shapes]
        const size = shape.reduce((a, b) => a * b, 1)
        return HostArray.fromNumbers(
          "f32",
          shape,
          Array.from({ length: size }, (_, i) => (i % 7) / 7)
        )
      })
      const bindings = { T: ends.length, S }
      return { inputs, bindings, expected: Reference.evaluate(graph, inputs, bindings) }
    }
    const options = { expected: "rounded" } as const

    test("WebAssembly, with vectors and without", async () => {
      for (const features of [{}, { simd: false }]) {
        const { run } = await compiled(graph, { ...features, threads: 1 })
        for (const S of lengths) {
          const { inputs, bindings, expected } = drawn(S)
          expectOutputs(graph, bindings, await run(inputs, bindings), expected, options)
        }
      }
    })

    test.each(
      Object.entries({ small, smallQuads, smallStaged, smallDecode, smallDecodeShared, smallDecodeQuads })
    )("WebGPU, %s", async (_, schedule) => {
      for (const S of lengths) {
        const { inputs, bindings, expected } = drawn(S)
        const actual = await runGraph(graph, inputs, bindings, "gpu", schedulesOf(schedule)(graph))
        expectOutputs(graph, bindings, actual, expected, options)
      }
    })
  }
)

describe("reductions", () => {
  const products = [
    [1, inf, 2, 3],
    [0, inf, 1, 1],
    [1, NaN, 1, 0],
    [1e30, 1e30, 1e-30, 1e-30],
    [1e-30, 1e-30, 1e30, 1e30],
    [3e38, 2, 1, 1],
    [1e-30, 1e-30, 1, 1],
    [inf, 1e-38, 1e-38, -1e-38],
    [1e-40, 1e20, 1e20, 1]
  ]
  const graph = graphOf(
    outputsOf(
      [input("f32[T, S]"), input("f32[P, S]", "p"), input("f32[S, P]", "c")],
      [
        ["lse", "f32[T] = logsumexp %x {axis = 1}"],
        ["max", "f32[T] = reduce_max %x {axes = [1]}"],
        ["product", "f32[P] = reduce_prod %p {axes = [1]}"],
        ["columns", "f32[P] = reduce_prod %c {axes = [0]}"],
        ["narrow", "bf16[P, S] = cast %p"],
        ["narrowProduct", "bf16[P] = reduce_prod %narrow {axes = [1]}"]
      ]
    )
  )
  const transposed = (x: HostArray.HostArray): HostArray.HostArray => {
    const [rows, length] = x.shape as readonly [number, number]
    const numbers = HostArray.toNumbers(x)
    return HostArray.fromNumbers(
      "f32",
      [length, rows],
      Array.from(numbers, (_, i) => numbers[(i % rows) * length + Math.floor(i / rows)] as number)
    )
  }
  const drawn = (S: number) => {
    const p = rowsOf(S, products, 1)
    const inputs = [rowsOf(S, ends, -5), p, transposed(p)]
    const bindings = { T: ends.length, P: products.length, S }
    return { inputs, bindings, expected: Reference.evaluate(graph, inputs, bindings) }
  }
  const lengths = [4, 37, 700]

  test("are what mathematics says", () => {
    const [lse, , product] = drawn(37).expected.map((x) => Array.from(HostArray.toNumbers(x)))
    expect(lse?.slice(0, 3)).toEqual([inf, NaN, NaN])
    expect(lse?.slice(3)).toEqual([expect.closeTo(-5 + Math.log(33)), inf, inf, large, NaN])
    expect(product?.slice(0, 3)).toEqual([inf, NaN, NaN])
    expect(product?.slice(3, 5)).toEqual([expect.closeTo(1), expect.closeTo(1)])
    expect(product?.slice(5)).toEqual([inf, 0, -inf, expect.closeTo(1)])
  })

  test("WebAssembly, with vectors and without", async () => {
    for (const features of [{}, { simd: false }]) {
      const { run } = await compiled(graph, { ...features, threads: 1 })
      for (const S of lengths) {
        const { inputs, bindings, expected } = drawn(S)
        expectOutputs(graph, bindings, await run(inputs, bindings), expected, { expected: "rounded" })
      }
    }
  })

  test.each(["cpu", "gpu"] as const)("WebGPU, kernels for a %s", async (kind) => {
    for (const S of lengths) {
      const { inputs, bindings, expected } = drawn(S)
      const actual = await runGraph(graph, inputs, bindings, kind)
      expectOutputs(graph, bindings, actual, expected, { expected: "rounded" })
    }
  })
})

describe("values that are infinite where a row sees them, and where it does not, and weights of -0", () => {
  // The greatest score, of the last keys, is above where the fill becomes negligible; those of earlier keys are not.
  const own: Attention = {
    captures: { scores: "f32[S]", seen: "bool[S]", factors: "f32[S]" },
    score: ["%score: f32[] = load %scores, %j"],
    mask: ["%own: bool[] = load %seen, %j"],
    probability: ["%factor: f32[] = load %factors, %j"],
    fill: "-80"
  }
  const sinks: Attention = { ...own, captures: { ...own.captures, sinks: "f32[2]" } }
  const programs = {
    "a greater score": { ...own, outputs: ["result", "lse"] },
    "a sink": { ...sinks, sink: ["%sink: f32[] = load %sinks, %h"] }
  } satisfies { readonly [name: string]: Attention }

  describe.each(Object.entries(programs))("%s", (_, program) => {
    const graph = graphOf(flashText(program))
    const drawn = (S: number, high: number, factor: number, value: number, sink = 30) => {
      const of = (shape: ReadonlyArray<number>, number: (i: number) => number) =>
        HostArray.fromNumbers(
          "f32",
          shape,
          Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => number(i))
        )
      const T = 3
      const keyOf = (i: number): number => Math.floor(i / 8) % S
      const isSeen = (j: number): boolean => j % 5 !== 3
      const chosen: { readonly [name: string]: HostArray.HostArray } = {
        q: of([1, 2, T, 8], (i) => i % 3),
        k: of([1, 2, S, 8], (i) => i % 5),
        // One column of hidden keys is infinite, one of a visible key, and one of both.
        v: of([1, 2, S, 8], (i) => {
          const [j, column] = [keyOf(i), i % 8]
          if (!isSeen(j)) return column === 1 || column === 3 ? Infinity : column === 4 ? NaN : 1
          return j === 2 && (column === 2 || column === 3) ? value : (i % 7) - 2
        }),
        scores: of([S], (j) => (j >= S - 5 ? high : 3)),
        seen: HostArray.fromNumbers(
          "bool",
          [S],
          Array.from({ length: S }, (_, j) => (isSeen(j) ? 1 : 0))
        ),
        factors: of([S], (j) => (j === 1 || j === 2 ? factor : 1)),
        sinks: of([2], (h) => (h === 0 ? sink : -9))
      }
      const inputs = graph.inputs.map(({ attrs }) => chosen[attrs.name as string] as HostArray.HostArray)
      const bindings = { T, S }
      return { inputs, bindings, expected: Reference.evaluate(graph, inputs, bindings) }
    }
    const kinds = [
      [1, -Infinity],
      [-1, -Infinity],
      [-Infinity, 1],
      [1, NaN],
      [1, 1]
    ] as ReadonlyArray<readonly [factor: number, value: number]>
    const draws = [13, 300, 700].flatMap((S) =>
      kinds.flatMap((kind) => [
        ...[3, 30, 300].map((high) => drawn(S, high, ...kind)),
        // All weights are 0, which infinite values make NaN all the same.
        drawn(S, 3, ...kind, 201)
      ])
    )
    const options = { expected: "rounded" } as const

    test("WebAssembly, with vectors and without", async () => {
      for (const features of [{}, { simd: false }]) {
        const { run } = await compiled(graph, { ...features, threads: 1 })
        for (const { inputs, bindings, expected } of draws)
          expectOutputs(graph, bindings, await run(inputs, bindings), expected, options)
      }
    })

    test.each(
      Object.entries({ small, smallQuads, smallStaged, smallDecode, smallDecodeQuads, smallDecodeShared })
    )("WebGPU, %s", async (_, schedule) => {
      for (const { inputs, bindings, expected } of draws) {
        const actual = await runGraph(graph, inputs, bindings, "gpu", schedulesOf(schedule)(graph))
        expectOutputs(graph, bindings, actual, expected, options)
      }
    })
  })
})
