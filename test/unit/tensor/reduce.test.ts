import { describe, expect, test } from "vitest"
import * as Tensor from "../../../src/Tensor.ts"
import { at, bound, build, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const x = randomDense(5, [2, 3, 5])
const input = () => bound("f64", x, ["B", 3, "T"])

/** Reduces the last axis of rank 3 with a plain function of its elements. */
const rows = (f: (row: ReadonlyArray<number>) => number): Dense =>
  build([2, 3], (b, i) => f([0, 1, 2, 3, 4].map((t) => at(x, b, i, t))))

const total = (row: ReadonlyArray<number>): number => row.reduce((a, b) => a + b, 0)
const average = (row: ReadonlyArray<number>): number => total(row) / row.length
const spread = (row: ReadonlyArray<number>): number => average(row.map((v) => (v - average(row)) ** 2))
const logSum = (row: ReadonlyArray<number>): number => Math.log(total(row.map(Math.exp)))

describe("reductions", () => {
  const cases: ReadonlyArray<readonly [string, typeof Tensor.sum, (row: ReadonlyArray<number>) => number]> = [
    ["sum", Tensor.sum, total],
    ["prod", Tensor.prod as never, (row) => row.reduce((a, b) => a * b, 1)],
    ["max", Tensor.max as never, (row) => Math.max(...row)],
    ["min", Tensor.min as never, (row) => Math.min(...row)],
    ["mean", Tensor.mean as never, average],
    ["variance", Tensor.variance as never, spread],
    ["logSumExp", Tensor.logSumExp as never, logSum]
  ]
  test.each(cases)("%s", (_, op, f) => {
    const a = input()
    const expected = rows(f)
    expectDense(run(op(a.tensor, -1), [a]), expected)
    expectDense(run(a.tensor.pipe(op(2)), [a]), expected)
    expectDense(run(a.tensor.pipe(op(-1, { keepDims: true })), [a]), { ...expected, shape: [2, 3, 1] })
    expectDense(run(op(a.tensor), [a]), dense([], [f(x.data)]))
    expectDense(
      run(op(a.tensor, [0, -1]), [a]),
      build([3], (i) => f([0, 1].flatMap((b) => [0, 1, 2, 3, 4].map((t) => at(x, b, i, t)))))
    )
    expect(op(a.tensor, undefined, { keepDims: true }).shape).toEqual([1, 1, 1])
  })

  test("any and all look at every dtype", () => {
    const a = bound("f64", dense([3, 2], [0, 0, 0, 2, 1, -1]))
    expect(run(Tensor.any(a.tensor, 1), [a])).toMatchObject({ dtype: "bool", data: [0, 1, 1] })
    expect(run(Tensor.all(a.tensor, 1), [a]).data).toEqual([0, 0, 1])
  })

  test("nothing reduces to the neutral element", () => {
    const a = bound("f64", dense([0, 2], []), ["T", 2])
    expect(run(Tensor.sum(a.tensor, 0), [a]).data).toEqual([0, 0])
    expect(run(Tensor.prod(a.tensor, 0), [a]).data).toEqual([1, 1])
    expect(run(Tensor.max(a.tensor, 0), [a]).data).toEqual([-Infinity, -Infinity])
    expect(run(Tensor.mean(a.tensor, 0), [a]).data).toEqual([Number.NaN, Number.NaN])
    expect(run(Tensor.logSumExp(a.tensor, 0), [a]).data).toEqual([-Infinity, -Infinity])
  })

  test("bools are counted, integers average to f32", () => {
    const a = bound("bool", dense([4], [1, 0, 1, 1]))
    expect(run(Tensor.sum(a.tensor), [a])).toMatchObject({ dtype: "i32", data: [3] })
    expect(run(Tensor.mean(a.tensor), [a])).toMatchObject({ dtype: "f32", data: [0.75] })
  })

  test("a mean of f16 does not overflow on the way", () => {
    const a = bound("f16", dense([4], [60000, 60000, 60000, 60000]))
    expect(run(Tensor.mean(a.tensor), [a])).toMatchObject({ dtype: "f16", data: [60000] })
  })

  test("argmax and argmin take the first", () => {
    const a = bound("f64", dense([2, 4], [1, 3, 3, 0, -1, -1, -2, -2]))
    expect(run(Tensor.argmax(a.tensor), [a])).toMatchObject({ dtype: "i32", data: [1, 0] })
    expect(run(a.tensor.pipe(Tensor.argmin()), [a]).data).toEqual([3, 2])
    expect(run(Tensor.argmax(a.tensor, 0), [a]).data).toEqual([0, 0, 0, 0])
    for (const dtype of ["u32", "i32"] as const) {
      const whole = bound(
        dtype,
        dense([4], dtype === "u32" ? [7, 0, 4294967295, 0] : [7, -2147483648, 2147483647, 3])
      )
      expect(run(Tensor.argmin(whole.tensor), [whole]).data).toEqual([1])
    }
  })

  test("cumsum", () => {
    const a = input()
    const expected = build([2, 3, 5], (b, i, t) =>
      total(Array.from({ length: t + 1 }, (_, l) => at(x, b, i, l)))
    )
    expectDense(run(Tensor.cumsum(a.tensor, -1), [a]), expected)
    expectDense(run(a.tensor.pipe(Tensor.cumsum(2)), [a]), expected)
  })
})

describe("normalisations", () => {
  test("softmax and its logarithm, along any axis", () => {
    const a = input()
    const expected = build([2, 3, 5], (b, i, t) => {
      const row = [0, 1, 2].map((l) => Math.exp(at(x, b, l, t)))
      return (row[i] as number) / total(row)
    })
    expectDense(run(Tensor.softmax(a.tensor, 1), [a]), expected)
    expectDense(run(a.tensor.pipe(Tensor.softmax(-2)), [a]), expected)
    expectDense(run(a.tensor.pipe(Tensor.logSoftmax(1)), [a]), dense([2, 3, 5], expected.data.map(Math.log)))
  })
  test("a row of -inf gives 0", () => {
    const a = bound("f64", dense([2, 2], [-Infinity, -Infinity, 0, -Infinity]))
    expect(run(Tensor.softmax(a.tensor), [a]).data).toEqual([0, 0, 1, 0])
  })

  const gain = randomDense(7, [5])
  const shift = randomDense(8, [5])
  test("layerNorm and rmsNorm with gain and bias", () => {
    const [a, g, c] = [bound("f64", x), bound("f64", gain), bound("f64", shift)]
    const row = (b: number, i: number) => [0, 1, 2, 3, 4].map((t) => at(x, b, i, t))
    const layer = build([2, 3, 5], (b, i, t) => {
      const own = row(b, i)
      return ((at(x, b, i, t) - average(own)) / Math.sqrt(spread(own) + 1e-3)) * at(gain, t) + at(shift, t)
    })
    const options = { gain: g.tensor, bias: c.tensor, epsilon: 1e-3 }
    expectDense(run(Tensor.layerNorm(a.tensor, options), [a, g, c]), layer)
    expectDense(run(a.tensor.pipe(Tensor.layerNorm(options)), [a, g, c]), layer)
    const rms = build([2, 3, 5], (b, i, t) => {
      const own = row(b, i)
      return at(x, b, i, t) / Math.sqrt(average(own.map((v) => v * v)) + 1e-5)
    })
    expectDense(run(Tensor.rmsNorm(a.tensor), [a]), rms)
  })
  test("several axes are normalised together, wherever they stand", () => {
    const a = input()
    const g = bound("f64", randomDense(9, [2, 5]), ["B", "T"])
    const values = [0, 1].flatMap((b) => [0, 1, 2, 3, 4].map((t) => [b, t] as const))
    const expected = build([2, 3, 5], (b, i, t) => {
      const all = values.map(([c, s]) => at(x, c, i, s))
      return (
        ((at(x, b, i, t) - average(all)) / Math.sqrt(spread(all) + 1e-5)) * at(randomDense(9, [2, 5]), b, t)
      )
    })
    expectDense(run(Tensor.layerNorm(a.tensor, { axes: [0, 2], gain: g.tensor }), [a, g]), expected)
    const b = bound("f64", x)
    const trailing = build([2, 3, 5], (n, i, t) => {
      const all = [0, 1, 2].flatMap((l) => [0, 1, 2, 3, 4].map((s) => at(x, n, l, s)))
      return at(x, n, i, t) / Math.sqrt(average(all.map((v) => v * v)) + 1e-5)
    })
    expectDense(run(Tensor.rmsNorm(b.tensor, { axes: [-2, -1] }), [b]), trailing)
  })
  test("f16 stays f16", () => {
    const a = Tensor.zeros([2, 4], "f16")
    expect(Tensor.layerNorm(a, { gain: Tensor.ones([4]) }).dtype).toBe("f16")
    expect(Tensor.softmax(a).dtype).toBe("f16")
  })
})
