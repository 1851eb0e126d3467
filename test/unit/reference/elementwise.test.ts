import { describe, expect, it } from "vitest"
import type { DType } from "../../../ir/DType.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { evaluate } from "../../support/evaluate.ts"

const numbers = (array: HostArray.HostArray | undefined): ReadonlyArray<number> => [
  ...HostArray.toNumbers(array as HostArray.HostArray)
]

const binary = (
  op: string,
  dtype: DType,
  x: ReadonlyArray<number>,
  y: ReadonlyArray<number>,
  result = dtype
) =>
  numbers(
    evaluate(
      `%0: ${dtype}[N] = input {name = "x"}\n%1: ${dtype}[N] = input {name = "y"}\n%2: ${result}[N] = ${op} %0, %1\nreturn %2`,
      [HostArray.fromNumbers(dtype, [x.length], x), HostArray.fromNumbers(dtype, [y.length], y)]
    )[0]
  )

const unary = (op: string, dtype: DType, x: ReadonlyArray<number>, result = dtype) =>
  numbers(
    evaluate(`%0: ${dtype}[N] = input {name = "x"}\n%1: ${result}[N] = ${op} %0\nreturn %1`, [
      HostArray.fromNumbers(dtype, [x.length], x)
    ])[0]
  )

describe("floats", () => {
  it("rounds every result to float32", () => {
    expect(binary("add", "f32", [0.1], [0.2])).toEqual([Math.fround(Math.fround(0.1) + Math.fround(0.2))])
    expect(binary("div", "f32", [1], [3])).toEqual([Math.fround(1 / 3)])
  })

  it("rounds f16 once and overflows to infinity", () => {
    expect(binary("add", "f16", [2048], [1])).toEqual([2048])
    expect(binary("add", "f16", [2048], [3])).toEqual([2052])
    expect(binary("mul", "f16", [60000], [2])).toEqual([Infinity])
  })

  it("evaluates functions at points with known values", () => {
    expect(unary("exp2", "f32", [-1, 0, 10, -Infinity])).toEqual([0.5, 1, 1024, 0])
    expect(unary("round", "f32", [0.5, 1.5, 2.5, -0.5, -1.5, 1e10])).toEqual([0, 2, 2, -0, -2, 1e10])
    expect(unary("sign", "f32", [-3, 0, 4])).toEqual([-1, 0, 1])
    expect(unary("rsqrt", "f32", [4, 0.25])).toEqual([0.5, 2])
    expect(unary("sigmoid", "f32", [0, -Infinity, Infinity])).toEqual([0.5, 0, 1])
    expect(unary("floor", "f32", [-1.5, 1.5])).toEqual([-2, 1])
    expect(unary("ceil", "f32", [-1.5, 1.5])).toEqual([-1, 2])
    expect(unary("abs", "f32", [-1.5])).toEqual([1.5])
    expect(unary("tanh", "f32", [0, Infinity])).toEqual([0, 1])
  })

  it("gives erf of tables (Abramowitz & Stegun, 7.1)", () => {
    const [half, one, two] = unary("erf", "f64", [0.5, 1, 2])
    expect(half).toBeCloseTo(0.5204998778, 10)
    expect(one).toBeCloseTo(0.8427007929, 10)
    expect(two).toBeCloseTo(0.995322265, 9)
  })

  it("lets NaN through minimum and maximum", () => {
    expect(binary("max", "f32", [Number.NaN, 1, -0], [1, 2, 0])).toEqual([Number.NaN, 2, 0])
    expect(binary("min", "f32", [1, Infinity], [Number.NaN, 2])).toEqual([Number.NaN, 2])
  })

  it("takes modulo with the sign of the divisor", () => {
    expect(binary("mod", "f32", [5, -5, 5, -5], [3, 3, -3, -3])).toEqual([2, 1, -1, -2])
    expect(binary("floor_div", "f32", [5, -5], [3, 3])).toEqual([1, -2])
  })
})

describe("integers", () => {
  it("wraps sums and products, exactly", () => {
    expect(binary("add", "i32", [2147483647], [1])).toEqual([-2147483648])
    expect(binary("mul", "i32", [123456789], [987654321])).toEqual([-67153019])
    expect(binary("mul", "u32", [4294967295], [4294967295])).toEqual([1])
    expect(binary("sub", "u32", [0], [1])).toEqual([4294967295])
    expect(unary("neg", "i32", [-2147483648])).toEqual([-2147483648])
  })

  it("gives 0 for division by 0", () => {
    expect(binary("floor_div", "i32", [7, -7, 0], [0, 0, 0])).toEqual([0, 0, 0])
    expect(binary("mod", "i32", [7, -7, 0], [0, 0, 0])).toEqual([0, 0, 0])
    expect(binary("floor_div", "i32", [-7, 7], [2, -2])).toEqual([-4, -4])
  })

  it("works on bits", () => {
    expect(binary("xor", "u32", [0xffffffff], [1])).toEqual([0xfffffffe])
    expect(binary("or", "i32", [-2147483648], [1])).toEqual([-2147483647])
    expect(binary("and", "u32", [0xf0f0f0f0], [0xff00ff00])).toEqual([0xf000f000])
  })

  it("compares u32 without sign", () => {
    expect(binary("lt", "u32", [1, 0x80000000], [0x80000000, 1], "bool")).toEqual([1, 0])
  })
})

describe("predicates and choice", () => {
  it("finds every comparison with NaN false, except ne", () => {
    for (const op of ["eq", "lt", "le", "gt", "ge"]) {
      expect(binary(op, "f32", [Number.NaN], [Number.NaN], "bool")).toEqual([0])
    }
    expect(binary("ne", "f32", [Number.NaN], [Number.NaN], "bool")).toEqual([1])
  })

  it("knows NaN and infinities", () => {
    expect(unary("is_nan", "f32", [Number.NaN, Infinity, 0], "bool")).toEqual([1, 0, 0])
    expect(unary("is_inf", "f16", [Number.NaN, -Infinity, 0], "bool")).toEqual([0, 1, 0])
  })

  it("selects by broadcast conditions and ignores the branch not taken", () => {
    const [result] = evaluate(
      `%0: bool[2, 1] = input {name = "keep"}
       %1: f32[3] = input {name = "x"}
       %2: f32[] = constant {values = [nan]}
       %3: f32[2, 3] = select %0, %1, %2
       return %3`,
      [HostArray.fromNumbers("bool", [2, 1], [1, 0]), HostArray.fromNumbers("f32", [3], [1, 2, 3])]
    )
    expect(numbers(result)).toEqual([1, 2, 3, Number.NaN, Number.NaN, Number.NaN])
  })

  it("negates and combines bools", () => {
    expect(unary("not", "bool", [0, 1])).toEqual([1, 0])
    expect(binary("and", "bool", [0, 0, 1, 1], [0, 1, 0, 1])).toEqual([0, 0, 0, 1])
    expect(binary("xor", "bool", [0, 0, 1, 1], [0, 1, 0, 1])).toEqual([0, 1, 1, 0])
  })
})

describe("cast", () => {
  it("truncates and saturates floats, wraps integers, tests bools", () => {
    expect(unary("cast", "f32", [-1.9, 1.9, 3e9, Number.NaN], "i32")).toEqual([-1, 1, 2147483647, 0])
    expect(unary("cast", "u32", [4294967295], "i32")).toEqual([-1])
    expect(unary("cast", "f32", [0, -0, 0.5, Number.NaN], "bool")).toEqual([0, 0, 1, 1])
    expect(unary("cast", "f64", [1 / 3], "f16")).toEqual([0.333251953125])
    expect(unary("cast", "i32", [16777217], "f32")).toEqual([16777216])
  })

  it("keeps float64 between ops for the oracle only", () => {
    const text = `%0: f64[1] = input {name = "x"}\n%1: f16[1] = cast %0\n%2: f64[1] = cast %1\nreturn %2`
    const x = [HostArray.fromNumbers("f64", [1], [1 / 3])]
    expect(numbers(evaluate(text, x)[0])).toEqual([0.333251953125])
    expect(numbers(evaluate(text, x, {}, { precision: "f64" })[0])).toEqual([1 / 3])
  })
})

it("broadcasts from both sides, over axes of length 0 too", () => {
  const text = `%0: f32[A, 1] = input {name = "x"}\n%1: f32[B] = input {name = "y"}\n%2: f32[A, B] = sub %0, %1\nreturn %2`
  const [result] = evaluate(text, [
    HostArray.fromNumbers("f32", [2, 1], [10, 20]),
    HostArray.fromNumbers("f32", [3], [1, 2, 3])
  ])
  expect(numbers(result)).toEqual([9, 8, 7, 19, 18, 17])
  const [empty] = evaluate(text, [HostArray.zeros("f32", [2, 1]), HostArray.zeros("f32", [0])])
  expect(empty?.shape).toEqual([2, 0])
})
