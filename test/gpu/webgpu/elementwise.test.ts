import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { agree } from "../../support/agree.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { input, outputsOf } from "../../support/irText.ts"
import { unary } from "../../support/opPrograms.ts"
import { runGraph } from "../../support/runProgram.ts"

const floats = ["f32", "f16", "bf16"] as const
const ints = ["i32", "u32"] as const
const all = [...floats, ...ints, "bool"] as const

const line = (type: string, op: string, ...operands: ReadonlyArray<string>) =>
  [op, `${type} = ${op} ${operands.join(", ")}`] as const

describe("one operand", () => {
  test.each(floats)("%s", async (d) => {
    const type = `${d}[T, 3]`
    const positive = [
      ["p", `${type} = abs %x`] as const,
      ...["log", "sqrt", "rsqrt"].map((op) => line(type, op, "%p"))
    ]
    await agree(
      outputsOf([input(type)], [...unary.map((op) => line(type, op, "%x")), ...positive]),
      { T: 7 },
      { kind: "cpu" }
    )
  })

  test.each(ints)("%s", async (d) => {
    const type = `${d}[T]`
    await agree(
      outputsOf(
        [input(type)],
        ["neg", "abs", "sign"].map((op) => line(type, op, "%x"))
      ),
      { T: 9 },
      { kind: "cpu" }
    )
  })

  test("bool", () =>
    agree(outputsOf([input("bool[T]")], [line("bool[T]", "not", "%x")]), { T: 5 }, { kind: "cpu" }))
})

describe("two operands, broadcast", () => {
  const arithmetic = ["add", "sub", "mul", "div", "min", "max", "floor_div", "mod"]
  test.each([...floats, ...ints])("%s", async (d) => {
    const type = `${d}[T, 5]`
    const ops = [
      ...arithmetic.filter((op) => op !== "div" || floats.some((f) => f === d)),
      ...(ints.some((i) => i === d) ? ["and", "or", "xor"] : [])
    ]
    const comparisons = ["eq", "ne", "lt", "le", "gt", "ge"]
    const text = outputsOf(
      [input(`${d}[T, 1]`), input(`${d}[5]`, "y")],
      [
        ...ops.map((op) => line(type, op, "%x", "%y")),
        ...comparisons.map((op) => line("bool[T, 5]", op, "%x", "%y"))
      ]
    )
    await agree(text, { T: 3 }, { kind: "cpu" })
  })

  test("bool", async () => {
    const ops = ["and", "or", "xor", "eq", "ne", "lt", "le", "gt", "ge"]
    const text = outputsOf(
      [input("bool[T, 1]"), input("bool[7]", "y")],
      ops.map((op) => line("bool[T, 7]", op, "%x", "%y"))
    )
    await agree(text, { T: 3 }, { kind: "cpu" })
  })

  test("pow of negative, zero and fractional arguments", async () => {
    const x = HostArray.fromNumbers("f32", [6, 1], Float64Array.of(-2, -1.5, 0, 0.5, 1, 3))
    const y = HostArray.fromNumbers("f32", [7], Float64Array.of(-3, -2, 0, 1, 2, 5, 65))
    await agree(
      outputsOf([input("f32[6, 1]"), input("f32[7]", "y")], [line("f32[6, 7]", "pow", "%x", "%y")]),
      {},
      { kind: "cpu", inputs: [x, y] }
    )
    const half = HostArray.fromNumbers("f32", [7], Float64Array.of(-2.5, -0.5, 0.5, 1.5, 2.25, 0.1, 1))
    const positive = HostArray.fromNumbers("f32", [6, 1], Float64Array.of(2, 1.5, 0.1, 0.5, 1, 3))
    await agree(
      outputsOf([input("f32[6, 1]"), input("f32[7]", "y")], [line("f32[6, 7]", "pow", "%x", "%y")]),
      {},
      { kind: "cpu", inputs: [positive, half] }
    )
  })

  test("integers divided by 0 and with mixed signs", async () => {
    const x = HostArray.fromNumbers("i32", [5, 1], Float64Array.of(-7, -1, 0, 6, 2147483647))
    const y = HostArray.fromNumbers("i32", [6], Float64Array.of(-3, -1, 0, 1, 2, 7))
    const text = outputsOf(
      [input("i32[5, 1]"), input("i32[6]", "y")],
      ["floor_div", "mod"].map((op) => line("i32[5, 6]", op, "%x", "%y"))
    )
    await agree(text, {}, { kind: "cpu", inputs: [x, y] })
  })
})

test("select, with each dtype", async () => {
  for (const d of all) {
    const text = outputsOf(
      [input("bool[T, 1]", "c"), input(`${d}[T, 3]`), input(`${d}[3]`, "y")],
      [line(`${d}[T, 3]`, "select", "%c", "%x", "%y")]
    )
    await agree(text, { T: 5 }, { kind: "cpu" })
  }
})

test("casts between all dtypes", async () => {
  const values = [
    -3.7, -1, -0.5, 0, 0.1, 0.5, 1, 2.5, 65504, 65519, 65520, 70000, 1e10, -1e10, 3e9, 1e-7, 6e-8, 1e-40
  ]
  for (const from of all) {
    const x = HostArray.fromNumbers(
      from,
      [values.length],
      Float64Array.from(values, (v) =>
        from === "bool"
          ? v > 0
            ? 1
            : 0
          : ints.some((i) => i === from)
            ? Math.trunc(Math.max(from === "u32" ? 0 : -2e9, Math.min(v, 2e9)))
            : v
      )
    )
    const text = outputsOf(
      [input(`${from}[${values.length}]`)],
      all.map((to) => [to, `${to}[${values.length}] = cast %x`] as const)
    )
    await agree(text, {}, { kind: "cpu", inputs: [x] })
  }
})

test("infinities, NaN and the edges of f32 come out as on the reference", async () => {
  const values = [
    NaN,
    Infinity,
    -Infinity,
    0,
    -0,
    1,
    -1,
    3.4028234663852886e38,
    -3.4028234663852886e38,
    1.1754943508222875e-38,
    88.8,
    -88.8,
    -103,
    -105,
    1e5
  ]
  const n = values.length
  const x = HostArray.fromNumbers("f32", [n], Float64Array.from(values))
  const y = HostArray.fromNumbers("f32", [n, 1], Float64Array.from(values))
  const type = `f32[${n}]`
  const square = `f32[${n}, ${n}]`
  const unary = ["neg", "abs", "exp", "exp2", "tanh", "sigmoid", "erf", "floor", "sin"].map((op) =>
    line(type, op, "%x")
  )
  const magnitudes = [
    ["m", `${type} = abs %x`] as const,
    ...["log", "sqrt"].map((op) => line(type, op, "%m"))
  ]
  const tests = ["is_nan", "is_inf"].map((op) => line(`bool[${n}]`, op, "%x"))
  const pairs = ["add", "mul", "min", "max"].map((op) => line(square, op, "%x", "%y"))
  const compared = ["eq", "ne", "lt", "ge"].map((op) => line(`bool[${n}, ${n}]`, op, "%x", "%y"))
  const text = outputsOf(
    [input(type), input(`f32[${n}, 1]`, "y")],
    [...unary, ...magnitudes, ...tests, ...pairs, ...compared]
  )
  const graph = graphOf(text)
  const expected = Reference.evaluate(graph, [x, y], {})
  const actual = await runGraph(graph, [x, y], {})
  const kind = (v: number): string =>
    Number.isFinite(v) ? (Math.abs(v) < 1e-37 ? "zero" : "finite") : String(v)
  graph.outputs.forEach(({ name }, i) => {
    const [a, e] = [
      [...(actual[i]?.data ?? [])].map(Number).map(kind),
      [...(expected[i]?.data ?? [])].map(Number).map(kind)
    ]
    expect(a, name).toEqual(e)
  })
})

test("constants carry infinities and NaN to the result", async () => {
  const graph = graphOf(`graph {
    ${input("bool[T]")}
    %a: f32[] = constant {values = [-inf]}
    %b: f32[] = constant {values = [inf]}
    %c: f32[] = constant {values = [nan]}
    %d: f32[T] = select %x, %a, %b
    %e: f32[T] = select %x, %c, %a
    return "d": %d, "e": %e
  }`)
  const x = arrays.array(arrays.random(1), "bool", [6])
  const actual = await runGraph(graph, [x], { T: 6 })
  expect(actual.map((a) => [...a.data])).toEqual(
    Reference.evaluate(graph, [x], { T: 6 }).map((a) => [...a.data])
  )
})

test("no elements, one element, a workgroup and one more", async () => {
  for (const T of [0, 1, 2, 63, 64, 65, 127, 129, 1000]) {
    for (const d of ["f32", "bf16"] as const) {
      await agree(outputsOf([input(`${d}[T]`)], [line(`${d}[T]`, "neg", "%x")]), { T }, { kind: "cpu" })
    }
  }
})
