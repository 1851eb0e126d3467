import { describe, expect, it } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Tolerance from "../../../ir/Tolerance.ts"
import { array, random } from "../../support/arrays.ts"
import { evaluate, graphOf } from "../../support/evaluate.ts"

const f32 = (...values: ReadonlyArray<number>) => HostArray.fromNumbers("f32", [values.length], values)
const percent = { relative: 0.01, absolute: 0 }

describe("compare", () => {
  it("names the element that is worst in units of what is allowed", () => {
    const { ok, failures, worst, message } = Tolerance.compare(
      HostArray.fromNumbers("f32", [2, 2], [1, 2.1, 3, 4]),
      HostArray.fromNumbers("f32", [2, 2], [1, 2, 3, 4]),
      percent
    )
    expect([ok, failures]).toEqual([false, 1])
    expect(worst?.index).toEqual([0, 1])
    expect(worst?.allowed).toBeCloseTo(0.06, 12)
    expect(message).toContain("1 of 4 elements outside tolerance")
  })

  it("measures against the largest element, since sums cancel", () => {
    expect(Tolerance.compare(f32(100, 0.5), f32(100, 0), percent).ok).toBe(true)
    expect(Tolerance.compare(f32(1, 0.5), f32(1, 0), percent).ok).toBe(false)
  })

  it("wants NaN and infinities in the same places", () => {
    const { NaN: nan, POSITIVE_INFINITY: inf } = Number
    expect(Tolerance.compare(f32(nan, inf, -inf), f32(nan, inf, -inf), Tolerance.exact).ok).toBe(true)
    for (const [a, e] of [
      [nan, 0],
      [0, nan],
      [inf, 1e38],
      [1e38, inf],
      [inf, -inf],
      [nan, inf]
    ] as const) {
      expect(Tolerance.compare(f32(a, 1), f32(e, 1), { relative: 10, absolute: 1e38 }).ok).toBe(false)
    }
  })

  it("takes -0 for 0, and arrays without elements for equal", () => {
    expect(Tolerance.compare(f32(-0), f32(0), Tolerance.exact).ok).toBe(true)
    expect(Tolerance.compare(f32(), f32(), Tolerance.exact).ok).toBe(true)
  })

  it("refuses other shapes and dtypes", () => {
    expect(Tolerance.compare(f32(1), f32(1, 2), percent).message).toBe("f32[1] instead of f32[2]")
    expect(Tolerance.compare(HostArray.fromNumbers("f16", [1], [1]), f32(1), percent).ok).toBe(false)
  })
})

describe("derivation", () => {
  const toleranceOf = (text: string, sizes: Record<string, number>, options?: Tolerance.Options) =>
    Tolerance.of(graphOf(text), sizes, options)[0] as Tolerance.Tolerance

  const dot = (dtype: string) => `%0: ${dtype}[K] = input {name = "a"}\n%1: ${dtype}[K] = input {name = "b"}
    %2: ${dtype}[] = dot %0, %1 {lhsBatch = [], rhsBatch = [], lhsContract = [0], rhsContract = [0]}\nreturn %2`

  it("asks for equality of integers, and of what only moves", () => {
    expect(toleranceOf(dot("i32"), { K: 100 })).toEqual(Tolerance.exact)
    const moved = `%0: f32[T, S] = input {name = "x"}\n%1: f32[S, T] = transpose %0 {perm = [1, 0]}\nreturn %1`
    expect(toleranceOf(moved, { T: 2, S: 2 }).relative).toBe(2 ** -24)
  })

  it("grows with the square root of a contraction", () => {
    const [short, long] = [64, 6400].map((K) => Tolerance.gamma(K, 2 ** -24)) as [number, number]
    expect(long / short).toBeCloseTo(10, 3)
    expect(short).toBeCloseTo(8 * 8 * 2 ** -24, 9)
  })

  it("accumulates f16 in f32", () => {
    const { relative } = toleranceOf(dot("f16"), { K: 4096 })
    expect(relative).toBeGreaterThan(2 ** -11)
    expect(relative).toBeLessThan(3 * 2 ** -11)
  })

  it("leaves room for rules and for the rounding of the other side", () => {
    const plain = toleranceOf(dot("f32"), { K: 64 })
    const both = toleranceOf(dot("f32"), { K: 64 }, { reassociated: true, expected: "rounded" })
    expect(both.relative).toBeGreaterThan(3 * plain.relative)
  })

  const attention = (dtype: string) => `
    %0: ${dtype}[T, 64] = input {name = "q"}
    %1: ${dtype}[S, 64] = input {name = "k"}
    %2: ${dtype}[S, 64] = input {name = "v"}
    %3: ${dtype}[T, S] = dot %0, %1 {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [1]}
    %4: ${dtype}[] = constant {values = [0.125]}
    %5: ${dtype}[T, S] = mul %3, %4
    %6: ${dtype}[T, S] = softmax %5 {axis = 1}
    %7: ${dtype}[T, 64] = dot %6, %2 {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
    return %7`

  it.each([
    ["f32", 1e-4],
    ["f16", 2e-2]
  ] as const)("bounds attention in %s, and stays tight enough to see a missing key", (dtype, most) => {
    const from = random(8)
    const sizes = { T: 16, S: 96 }
    const [q, k, v] = [16, 96, 96].map((n) => array(from, dtype, [n, 64])) as [
      HostArray.HostArray,
      HostArray.HostArray,
      HostArray.HostArray
    ]
    const text = attention(dtype)
    const tolerance = toleranceOf(text, sizes)
    expect(tolerance.relative).toBeLessThan(most)
    const [oracle] = evaluate(text, [q, k, v], sizes, { precision: "f64" }) as [HostArray.HostArray]
    const [rounded] = evaluate(text, [q, k, v], sizes) as [HostArray.HostArray]
    expect(Tolerance.compare(rounded, oracle, tolerance).message).toContain("within tolerance")
    const shorter = (x: HostArray.HostArray) =>
      HostArray.fromNumbers(dtype, [95, 64], HostArray.toNumbers(x).subarray(0, 95 * 64))
    const [wrong] = evaluate(text, [q, shorter(k), shorter(v)], { T: 16, S: 95 }) as [HostArray.HostArray]
    expect(Tolerance.compare(wrong, oracle, tolerance).ok).toBe(false)
  })
})
