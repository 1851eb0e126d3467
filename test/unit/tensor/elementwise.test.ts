import { pipe } from "effect"
import { describe, expect, test } from "vitest"
import * as Tensor from "../../../src/Tensor.ts"
import { at, bound, build, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const x = randomDense(1, [5, 3])
const positive = build([5, 3], (i, j) => 0.1 + i + 0.37 * j)
const map = (f: (v: number) => number) => dense(x.shape, x.data.map(f))

/** The error function by Simpson's rule on its integral, with nothing in common with the library's series. */
const erf = (v: number): number => {
  const n = 2000
  const h = v / n
  let sum = 1 + Math.exp(-v * v)
  for (let i = 1; i < n; i++) sum += (i % 2 === 0 ? 2 : 4) * Math.exp(-((i * h) ** 2))
  return ((2 / Math.sqrt(Math.PI)) * sum * h) / 3
}

const logistic = (v: number): number => 1 / (1 + Math.exp(-v))

describe("functions of one element", () => {
  const cases: ReadonlyArray<
    readonly [string, (t: Tensor.Tensor<"f64">) => Tensor.Tensor, (v: number) => number]
  > = [
    ["exp", Tensor.exp, Math.exp],
    ["exp2", Tensor.exp2, (v) => 2 ** v],
    ["sin", Tensor.sin, Math.sin],
    ["cos", Tensor.cos, Math.cos],
    ["tanh", Tensor.tanh, Math.tanh],
    ["erf", Tensor.erf, erf],
    ["sigmoid", Tensor.sigmoid, logistic],
    ["neg", Tensor.neg, (v) => -v],
    ["abs", Tensor.abs, Math.abs],
    ["sign", Tensor.sign, Math.sign],
    ["floor", Tensor.floor, Math.floor],
    ["ceil", Tensor.ceil, Math.ceil],
    ["square", Tensor.square, (v) => v * v],
    ["reciprocal", Tensor.reciprocal, (v) => 1 / v],
    ["relu", Tensor.relu, (v) => Math.max(v, 0)],
    ["silu", Tensor.silu, (v) => v * logistic(v)],
    ["softplus", Tensor.softplus, (v) => Math.log(1 + Math.exp(v))],
    ["gelu", Tensor.gelu, (v) => (v * (1 + erf(v / Math.SQRT2))) / 2],
    [
      "gelu by tanh",
      Tensor.gelu({ approximate: "tanh" }),
      (v) => (v / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)))
    ]
  ]
  test.each(cases)("%s", (_, op, formula) => {
    const input = bound("f64", x, ["T", 3])
    expectDense(run(op(input.tensor), [input]), map(formula))
  })

  const roots: ReadonlyArray<
    readonly [string, (t: Tensor.Tensor<"f64">) => Tensor.Tensor, (v: number) => number]
  > = [
    ["log", Tensor.log, Math.log],
    ["sqrt", Tensor.sqrt, Math.sqrt],
    ["rsqrt", Tensor.rsqrt, (v) => 1 / Math.sqrt(v)]
  ]
  test.each(roots)("%s of positive elements", (_, op, formula) => {
    const input = bound("f64", positive)
    expectDense(run(op(input.tensor), [input]), dense(positive.shape, positive.data.map(formula)))
  })

  test("round takes halves to the even neighbour, and leaves integers alone", () => {
    const halves = bound("f64", dense([6], [-2.5, -1.5, -0.5, 0.5, 1.5, 2.6]))
    expectDense(run(Tensor.round(halves.tensor), [halves]), dense([6], [-2, -2, -0, 0, 2, 3]))
    const whole = bound("i32", dense([2], [3, -4]))
    expect(run(Tensor.round(whole.tensor), [whole])).toMatchObject({ dtype: "i32", data: [3, -4] })
  })
})

describe("functions of two elements", () => {
  const y = build([3], (j) => 1.5 - j * 0.4)
  const mod = (a: number, b: number): number => a - b * Math.floor(a / b)
  const cases: ReadonlyArray<readonly [string, typeof Tensor.add, (a: number, b: number) => number]> = [
    ["add", Tensor.add, (a, b) => a + b],
    ["sub", Tensor.sub as never, (a, b) => a - b],
    ["mul", Tensor.mul as never, (a, b) => a * b],
    ["div", Tensor.div as never, (a, b) => a / b],
    ["floorDiv", Tensor.floorDiv as never, (a, b) => Math.floor(a / b)],
    ["mod", Tensor.mod as never, mod],
    ["minimum", Tensor.minimum as never, Math.min],
    ["maximum", Tensor.maximum as never, Math.max]
  ]
  test.each(cases)("%s broadcasts, first or last", (_, op, formula) => {
    const [a, b] = [bound("f64", x, ["T", 3]), bound("f64", y)]
    const expected = build([5, 3], (i, j) => formula(at(x, i, j), at(y, j)))
    expectDense(run(op(a.tensor, b.tensor), [a, b]), expected)
    expectDense(run(a.tensor.pipe(op(b.tensor)), [a, b]), expected)
    expectDense(run(pipe(a.tensor, op(b.tensor)), [a, b]), expected)
    expectDense(
      run(op(a.tensor, 2), [a]),
      build([5, 3], (i, j) => formula(at(x, i, j), 2))
    )
    expectDense(
      run(op(2, a.tensor), [a]),
      build([5, 3], (i, j) => formula(2, at(x, i, j)))
    )
  })

  test("pow", () => {
    const a = bound("f64", positive)
    expectDense(
      run(Tensor.pow(a.tensor, 1.7), [a]),
      dense(
        [5, 3],
        positive.data.map((v) => v ** 1.7)
      )
    )
    expectDense(
      run(a.tensor.pipe(Tensor.pow(-2)), [a]),
      dense(
        [5, 3],
        positive.data.map((v) => v ** -2)
      )
    )
  })

  test("a square is a product, so negative elements are safe on every device", () => {
    const a = bound("f64", x)
    const squared = Tensor.pow(a.tensor, 2)
    expect(Tensor.nodeOf(squared).op).toBe("mul")
    expectDense(
      run(squared, [a]),
      map((v) => v * v)
    )
  })

  test("clip bounds from either side", () => {
    const a = bound("f64", x)
    expectDense(
      run(Tensor.clip(a.tensor, { low: -0.3, high: 0.2 }), [a]),
      map((v) => Math.min(Math.max(v, -0.3), 0.2))
    )
    expectDense(
      run(a.tensor.pipe(Tensor.clip({ high: 0 })), [a]),
      map((v) => Math.min(v, 0))
    )
  })
})

describe("predicates and choice", () => {
  const y = randomDense(2, [5, 3], true)
  const z = randomDense(3, [3], true)
  const comparisons: ReadonlyArray<readonly [string, typeof Tensor.eq, (a: number, b: number) => boolean]> = [
    ["eq", Tensor.eq, (a, b) => a === b],
    ["ne", Tensor.ne as never, (a, b) => a !== b],
    ["lt", Tensor.lt as never, (a, b) => a < b],
    ["le", Tensor.le as never, (a, b) => a <= b],
    ["gt", Tensor.gt as never, (a, b) => a > b],
    ["ge", Tensor.ge as never, (a, b) => a >= b]
  ]
  test.each(comparisons)("%s", (_, op, holds) => {
    const [a, b] = [bound("i32", y, ["T", 3]), bound("i32", z)]
    const expected = build([5, 3], (i, j) => Number(holds(at(y, i, j), at(z, j))))
    expect(run(op(a.tensor, b.tensor), [a, b])).toMatchObject({ dtype: "bool", ...expected })
    expect(run(a.tensor.pipe(op(b.tensor)), [a, b])).toMatchObject(expected)
  })

  test("logic of bools, bits of integers", () => {
    const [p, q] = [bound("bool", dense([4], [0, 0, 1, 1])), bound("bool", dense([4], [0, 1, 0, 1]))]
    const table = (t: Tensor.Tensor) => run(t, [p, q]).data
    expect(table(Tensor.and(p.tensor, q.tensor))).toEqual([0, 0, 0, 1])
    expect(table(Tensor.or(p.tensor, q.tensor))).toEqual([0, 1, 1, 1])
    expect(table(p.tensor.pipe(Tensor.xor(q.tensor)))).toEqual([0, 1, 1, 0])
    expect(table(Tensor.not(p.tensor))).toEqual([1, 1, 0, 0])
    const bits = bound("i32", dense([2], [12, 5]))
    expect(run(Tensor.and(bits.tensor, 6), [bits]).data).toEqual([4, 4])
  })

  test("where chooses, and the branch not taken never matters", () => {
    const a = bound("f64", dense([4], [1, Number.NaN, -Infinity, 4]))
    const known = Tensor.not(Tensor.or(Tensor.isNaN(a.tensor), Tensor.isInf(a.tensor)))
    expect(run(Tensor.where(known, a.tensor, 7), [a]).data).toEqual([1, 7, 7, 4])
    expect(run(known.pipe(Tensor.where(1, a.tensor)), [a]).data).toEqual([1, Number.NaN, -Infinity, 1])
  })
})

describe("dtypes", () => {
  const dtypeOf = (t: Tensor.Tensor) => t.dtype
  const of = (dtype: "f64" | "f32" | "f16" | "bf16" | "i32" | "u32" | "bool") => Tensor.zeros([2], dtype)
  test("two tensors meet on the lattice", () => {
    expect(dtypeOf(Tensor.add(of("f16"), of("bf16")))).toBe("f32")
    expect(dtypeOf(Tensor.add(of("u32"), of("i32")))).toBe("i32")
    expect(dtypeOf(Tensor.add(of("i32"), of("f16")))).toBe("f16")
    expect(dtypeOf(Tensor.add(of("f32"), of("f64")))).toBe("f64")
    expect(dtypeOf(Tensor.add(of("bool"), of("bool")))).toBe("i32")
  })
  test("numbers are weak", () => {
    expect(dtypeOf(Tensor.mul(of("f16"), 1 / 3))).toBe("f16")
    expect(dtypeOf(Tensor.mul(of("i32"), 3))).toBe("i32")
    expect(dtypeOf(Tensor.mul(of("i32"), 0.5))).toBe("f32")
    expect(dtypeOf(Tensor.add(of("bool"), 1))).toBe("i32")
    expect(dtypeOf(Tensor.add(of("bool"), 1.5))).toBe("f32")
    expect(dtypeOf(Tensor.div(of("i32"), 2))).toBe("f32")
    expect(dtypeOf(Tensor.where(Tensor.zeros([2], "bool"), of("f16"), -Infinity))).toBe("f16")
  })
  test("a number that an integer cannot hold is refused", () => {
    expect(() => Tensor.add(of("u32"), -1)).toThrow("add: -1 is not a u32")
    expect(() => Tensor.add(of("i32"), 2 ** 40)).toThrow("is not an i32")
  })
  test("cast rounds, truncates and saturates", () => {
    const a = bound("f64", dense([4], [2.7, -2.7, 1e12, Number.NaN]))
    expect(run(Tensor.cast(a.tensor, "i32"), [a])).toMatchObject({
      dtype: "i32",
      data: [2, -2, 2147483647, 0]
    })
    expect(run(a.tensor.pipe(Tensor.cast("bool")), [a]).data).toEqual([1, 1, 1, 1])
  })
})
