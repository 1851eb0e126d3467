import { describe, expect, test } from "vitest"
import { scaledDotProductAttention as attend, type Options } from "../../../src/Attention.ts"
import * as Mask from "../../../src/Mask.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { at, bound, build, type Dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [B, N, M, T, S, D, E] = [2, 6, 2, 3, 5, 4, 7]
const q = randomDense(1, [B, N, T, D])
const k = randomDense(2, [B, M, S, D])
const v = randomDense(3, [B, M, S, E])

const inputs = () =>
  [
    bound("f64", q, ["B", N, "T", D]),
    bound("f64", k, ["B", M, "S", D]),
    bound("f64", v, ["B", M, "S", E])
  ] as const

/** Attention by its definition: `score` sees the scaled logit, and says what it becomes, or -Infinity. */
const definition = (
  score: (logit: number, b: number, n: number, i: number, j: number) => number = (logit) => logit,
  options: { readonly scale?: number; readonly sink?: (n: number) => number } = {}
): Dense =>
  build([B, N, T, E], (b, n, i, e) => {
    const m = Math.floor(n / (N / M))
    const scores = Array.from({ length: S }, (_, j) => {
      let sum = 0
      for (let d = 0; d < D; d++) sum += at(q, b, n, i, d) * at(k, b, m, j, d)
      return score(sum * (options.scale ?? 1 / Math.sqrt(D)), b, n, i, j)
    })
    const weights = scores.map(Math.exp)
    const total =
      weights.reduce((x, y) => x + y, 0) + (options.sink === undefined ? 0 : Math.exp(options.sink(n)))
    return total === 0 ? 0 : weights.reduce((sum, w, j) => sum + (w / total) * at(v, b, m, j, e), 0)
  })

const check = (
  options: Options,
  expected: Dense,
  more: ReadonlyArray<ReturnType<typeof bound>> = []
): void => {
  const [a, b, c] = inputs()
  const result = attend(a.tensor, b.tensor, c.tensor, options)
  expect(result.shape).toEqual(["B", N, "T", E])
  expectDense(run(result, [a, b, c, ...more]), expected)
}

const cut = (holds: boolean, score: number): number => (holds ? score : -Infinity)

describe("scaledDotProductAttention", () => {
  test("plain, with its own scale, through a pipe", () => {
    check({}, definition())
    check({ scale: 0.3 }, definition(undefined, { scale: 0.3 }))
    const [a, b, c] = inputs()
    expectDense(run(a.tensor.pipe(attend(b.tensor, c.tensor)), [a, b, c]), definition())
  })
  test('"causal" is bottom-right', () => {
    check(
      { mask: "causal" },
      definition((s, _b, _n, i, j) => cut(j <= i + S - T, s))
    )
  })
  test("a bool tensor keeps, a float tensor adds, a Mask says which", () => {
    const keep = build([B, 1, T, S], (b, _, i, j) => Number((b + i + 2 * j) % 3 !== 0))
    const m = bound("bool", keep, ["B", 1, "T", "S"])
    check(
      { mask: m.tensor },
      definition((s, b, _n, i, j) => cut(at(keep, b, 0, i, j) === 1, s)),
      [m]
    )
    const bias = randomDense(5, [N, T, S])
    const w = bound("f64", bias, [N, "T", "S"])
    check(
      { mask: w.tensor },
      definition((s, _b, n, i, j) => s + at(bias, n, i, j)),
      [w]
    )
    check(
      { bias: w.tensor, mask: Mask.prefix(2) },
      definition((s, _b, n, i, j) => cut(j < 2, s + at(bias, n, i, j))),
      [w]
    )
    check(
      { mask: Mask.toDrop(Mask.causal) },
      definition((s, _b, _n, i, j) => cut(j <= i, s))
    )
  })
  test("rows that see nothing give 0", () => {
    check(
      { mask: Mask.causalFrom(-2) },
      definition((s, _b, _n, i, j) => cut(j <= i - 2, s))
    )
  })
  test("window, softcap, sinks", () => {
    check(
      { window: 1 },
      definition((s, _b, _n, i, j) => cut(j <= i + S - T && j >= i + S - T - 1, s))
    )
    check(
      { window: [1, 1] },
      definition((s, _b, _n, i, j) => cut(Math.abs(i + S - T - j) <= 1, s))
    )
    check(
      { softcap: 0.4 },
      definition((s) => 0.4 * Math.tanh(s / 0.4))
    )
    const sink = randomDense(7, [N])
    const z = bound("f64", sink)
    check({ sinks: z.tensor }, definition(undefined, { sink: (n) => at(sink, n) }), [z])
    check(
      { sinks: z.tensor, mask: "causal", softcap: 2, window: 2 },
      definition((s, _b, _n, i, j) => cut(j <= i + S - T && j >= i + S - T - 2, 2 * Math.tanh(s / 2)), {
        sink: (n) => at(sink, n)
      }),
      [z]
    )
  })
  test("dropout changes weights, not their sum", () => {
    const [a, b, c] = inputs()
    const half = run(attend(a.tensor, b.tensor, c.tensor, { dropout: { rate: 0.5, seed: 1 } }), [a, b, c])
    expect(half.data).not.toEqual(definition().data)
    expectDense(
      run(attend(a.tensor, b.tensor, c.tensor, { dropout: { rate: 0, seed: 1 } }), [a, b, c]),
      definition()
    )
  })
  test("the result is what the three promote to", () => {
    const of = (dtype: "f16" | "bf16" | "f32", heads: number) => Tensor.zeros([1, heads, 2, 4], dtype)
    expect(attend(of("f16", 2), of("f16", 1), of("f16", 1)).dtype).toBe("f16")
    expect(attend(of("f16", 2), of("bf16", 1), of("f16", 1)).dtype).toBe("f32")
    expect(attend(of("f16", 2), of("f16", 1), of("f32", 1)).dtype).toBe("f32")
  })
})

describe("what it refuses", () => {
  const of = (shape: ReadonlyArray<number | string>, dtype: "f16" | "f32" | "i32" = "f16"): Tensor.Tensor =>
    Tensor.zeros(shape, dtype)
  const [a, b, c] = [of([2, 6, 3, 4]), of([2, 2, 5, 4]), of([2, 2, 5, 7])]
  test.each([
    ["rank", () => attend(of([6, 3, 4]), b, c), "have rank 4, given q f16[6, 3, 4], k f16[2, 2, 5, 4]"],
    ["batch", () => attend(of([3, 6, 3, 4]), b, c), "the batches differ"],
    ["head size", () => attend(of([2, 6, 3, 8]), b, c), "q has heads of 8, k of 4"],
    ["heads of k and v", () => attend(a, b, of([2, 3, 5, 7])), "k has 2 heads, v 3"],
    ["keys", () => attend(a, b, of([2, 2, 6, 7])), "k has 5 keys, v 6"],
    ["group", () => attend(of([2, 5, 3, 4]), b, c), "5 query heads are not a multiple of 2 key/value heads"],
    ["symbolic group", () => attend(of([2, "H", 3, 4]), b, c), "H query heads are not a multiple of 2"],
    ["sinks", () => attend(a, b, c, { sinks: of([2]) }), "sinks are [6], one for each query head"],
    ["mask shape", () => attend(a, b, c, { mask: Tensor.ones([4, 5], "bool") }), "sizes at axis -2"],
    [
      "mask of more axes",
      () => attend(a, b, c, { mask: Tensor.ones([1, 2, 6, 3, 5], "bool") }),
      "does not broadcast to scores"
    ],
    [
      "integers",
      () => attend(of([2, 6, 3, 4], "i32"), of([2, 2, 5, 4], "i32"), of([2, 2, 5, 7], "i32")),
      "takes floats"
    ],
    [
      "a mask that would widen",
      () => attend(a, b, c, { mask: of([3, 5], "f32") }),
      "a mask of f32 does not promote to f16"
    ],
    [
      "an integer mask",
      () => attend(a, b, c, { mask: of([3, 5], "i32") }),
      "a mask of i32 does not promote to f16"
    ],
    [
      "sinks that would widen",
      () => attend(a, b, c, { sinks: of([6], "f32") }),
      "sinks of f32 do not promote to f16"
    ],
    ["another word", () => attend(a, b, c, { mask: "top-left" as "causal" }), '"top-left" is not a mask'],
    ["a head size without a number", () => attend(of([2, 6, 3, "D"]), of([2, 2, 5, "D"]), c), "says no scale"]
  ])("%s", (_, f, text) => {
    expect(f).toThrow(text)
  })
})

describe("the program of the front page", () => {
  const attention = ({ q, k, v }: { readonly [name in "q" | "k" | "v"]: Tensor.Tensor }): Tensor.Tensor =>
    Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, N / M))).pipe(
      Tensor.mul(1 / Math.sqrt(D)),
      Mask.apply(Mask.and(Mask.causal, Mask.slidingWindow(1))),
      Tensor.softmax(-1),
      Tensor.matmul(Tensor.repeatHeads(v, N / M))
    )
  test("means what it says, at any length", () => {
    const [a, b, c] = inputs()
    const result = attention({ q: a.tensor, k: b.tensor, v: c.tensor })
    expect(result.shape).toEqual(["B", N, "T", E])
    const expected = definition((s, _b, _n, i, j) => cut(j <= i && j >= i - 1, s))
    expectDense(run(result, [a, b, c]), expected)
  })
})
