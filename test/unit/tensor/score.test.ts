import { describe, expect, test } from "vitest"
import * as Score from "../../../src/Score.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { at, bound, build, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const x = randomDense(1, [2, 6, 4, 5])
const logits = () => bound("f64", x, ["B", 6, "T", "S"])

describe("scores", () => {
  test("scale and softcap", () => {
    const a = logits()
    expectDense(
      run(a.tensor.pipe(Score.scale(0.25)), [a]),
      dense(
        x.shape,
        x.data.map((v) => v * 0.25)
      )
    )
    expectDense(
      run(a.tensor.pipe(Score.softcap(0.5)), [a]),
      dense(
        x.shape,
        x.data.map((v) => 0.5 * Math.tanh(v / 0.5))
      )
    )
    expect(() => Score.softcap(0)).toThrow("0 is not a cap")
  })

  test("bias is rounded to the dtype of the logits and never stretches them", () => {
    const [a, b] = [logits(), bound("f32", randomDense(2, [6, 1, 5], true))]
    const result = a.tensor.pipe(Score.bias(b.tensor))
    expect(result.dtype).toBe("f64")
    expectDense(
      run(result, [a, b]),
      build(x.shape, (n, h, i, j) => at(x, n, h, i, j) + at(randomDense(2, [6, 1, 5], true), h, 0, j))
    )
    expect(Tensor.zeros([3, 4], "f16").pipe(Score.bias(Tensor.zeros([4]))).dtype).toBe("f16")
    expect(() => Tensor.zeros([1, 4]).pipe(Score.bias(Tensor.zeros([2, 4])))).toThrow("does not broadcast")
  })

  test("alibi slopes: a geometric sequence, and between two of them for other counts", () => {
    expect(Score.alibiSlopes(4)).toEqual([2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8])
    // From the program of the paper, for 6 heads: those of 4 heads, then every other one of 8 heads.
    expect(Score.alibiSlopes(6)).toEqual([2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3])
    expect(() => Score.alibiSlopes(0)).toThrow("not a number of heads")
  })

  test("alibi: farther keys count less", () => {
    const a = logits()
    const slopes = Score.alibiSlopes(6)
    const expected = (offset: number) =>
      build(x.shape, (b, h, i, j) => at(x, b, h, i, j) + (slopes[h] as number) * (j - i - offset))
    expectDense(run(a.tensor.pipe(Score.alibi(6)), [a]), expected(0))
    expectDense(run(a.tensor.pipe(Score.alibi(6, { offset: 3 })), [a]), expected(3))
    const given = bound("f64", dense([6], slopes))
    const difference = Tensor.sub(Tensor.size(a.tensor, -1), Tensor.size(a.tensor, -2))
    expectDense(
      run(a.tensor.pipe(Score.alibi(given.tensor, { offset: difference })), [a, given]),
      expected(1)
    )
  })

  test("relative bias: an entry for each head and distance", () => {
    const [a, table] = [logits(), bound("f64", randomDense(3, [6, 9]))]
    const buckets: Score.Buckets = (d) => Tensor.add(d, 4) as Tensor.Tensor<"i32">
    const expected = build(
      x.shape,
      (b, h, i, j) => at(x, b, h, i, j) + at(randomDense(3, [6, 9]), h, Math.max(0, j - i + 4))
    )
    expectDense(run(a.tensor.pipe(Score.relativeBias(table.tensor, buckets)), [a, table]), expected)
    const given = bound(
      "i32",
      build([4, 5], (i, j) => Math.max(0, j - i + 4))
    )
    expectDense(
      run(a.tensor.pipe(Score.relativeBias(table.tensor, given.tensor)), [a, table, given]),
      expected
    )
  })

  /** `T5Attention._relative_position_bucket` of Hugging Face's transformers, for one distance, in float32 as there. */
  const bucket = (distance: number, bidirectional: boolean, count: number, most: number): number => {
    let n = count
    let result = 0
    let d = distance
    if (bidirectional) {
      n = Math.floor(n / 2)
      if (d > 0) result += n
      d = Math.abs(d)
    } else d = -Math.min(d, 0)
    const exact = Math.floor(n / 2)
    if (d < exact) return result + d
    const [ratio, scaled] = [new Float32Array([d / exact]), new Float32Array(1)]
    const logarithm = new Float32Array([Math.log(ratio[0] as number)])
    scaled[0] = (logarithm[0] as number) / Math.log(most / exact)
    scaled[0] *= n - exact
    const far = exact + Math.trunc(scaled[0])
    return result + Math.min(far, n - 1)
  }
  test.each([
    [true, 32, 128],
    [false, 32, 128],
    [true, 8, 20]
  ])("T5's buckets: bidirectional %j, %j buckets up to %j", (bidirectional, buckets, maxDistance) => {
    const d = bound(
      "i32",
      dense(
        [301],
        Array.from({ length: 301 }, (_, i) => i - 150)
      )
    )
    const got = run(Score.t5Buckets({ buckets, maxDistance, bidirectional })(d.tensor), [d])
    expect(got.dtype).toBe("i32")
    expect(got.data).toEqual(
      Array.from({ length: 301 }, (_, i) => bucket(i - 150, bidirectional, buckets, maxDistance))
    )
  })
})
