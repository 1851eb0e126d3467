import { describe, expect, test } from "vitest"
import * as Dim from "../../../ir/Dim.ts"
import * as Mask from "../../../src/Mask.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { at, type Bound, bound, build, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

/** A mask as 0 and 1 over symbolic lengths. */
const table = (
  mask: Mask.Mask,
  sizes: Readonly<Record<string, number>>,
  shape: ReadonlyArray<number | string> = ["T", "S"],
  inputs: ReadonlyArray<Bound> = []
) => run(Mask.toTensor(mask, shape), inputs, sizes)

const lengths: ReadonlyArray<readonly [number, number]> = [
  [5, 5],
  [3, 7],
  [7, 3],
  [1, 6],
  [4, 0]
]

describe("index predicates", () => {
  const mod = (a: number, b: number): number => ((a % b) + b) % b
  const cases: ReadonlyArray<
    readonly [string, Mask.Keep, (i: number, j: number, t: number, s: number) => boolean]
  > = [
    ["all", Mask.all, () => true],
    ["none", Mask.none, () => false],
    ["causal is top-left", Mask.causal, (i, j) => j <= i],
    ["causalFrom", Mask.causalFrom(2), (i, j) => j <= i + 2],
    ["causalFrom a negative offset", Mask.causalFrom(-1), (i, j) => j <= i - 1],
    ["causalFrom a length", Mask.causalFrom("S - T"), (i, j, t, s) => j <= i + s - t],
    ["causalBottomRight", Mask.causalBottomRight, (i, j, t, s) => j <= i + s - t],
    ["slidingWindow to the left", Mask.slidingWindow(2), (i, j) => j >= i - 2 && j <= i],
    ["slidingWindow to both sides", Mask.slidingWindow(1, 3), (i, j) => j >= i - 1 && j <= i + 3],
    ["slidingWindow without an end", Mask.slidingWindow(Infinity, 1), (i, j) => j <= i + 1],
    ["slidingWindow without a start", Mask.slidingWindow(1, Infinity), (i, j) => j >= i - 1],
    ["slidingWindow without either", Mask.slidingWindow(Infinity, Infinity), () => true],
    ["prefix", Mask.prefix(2), (_, j) => j < 2],
    ["dilated", Mask.dilated(4, 2), (i, j) => Math.abs(i - j) <= 4 && mod(i - j, 2) === 0],
    ["chunked", Mask.chunked(2), (i, j) => Math.floor(i / 2) === Math.floor(j / 2)],
    ["and", Mask.and(Mask.causal, Mask.slidingWindow(1, 1)), (i, j) => j <= i && j >= i - 1],
    ["or", Mask.causal.pipe(Mask.or(Mask.prefix(3))), (i, j) => j <= i || j < 3],
    ["not", Mask.not(Mask.causal), (i, j) => j > i],
    [
      "shift",
      Mask.slidingWindow(1).pipe(Mask.shift(Dim.sub(Dim.symbol("S"), Dim.symbol("T")))),
      (i, j, t, s) => j <= i + s - t && j >= i + s - t - 1
    ],
    ["keepWhere", Mask.keepWhere(({ query, key }) => Tensor.eq(key, query)), (i, j) => i === j]
  ]
  test.each(cases)("%s", (_, mask, holds) => {
    for (const [t, s] of lengths) {
      expectDense(
        table(mask, { T: t, S: s }),
        build([t, s], (i, j) => Number(holds(i, j, t, s)))
      )
    }
  })

  test("head and batch positions", () => {
    const mask = Mask.keepWhere(({ batch, head, key }) => Tensor.lt(key, Tensor.add(batch, head)))
    expectDense(
      table(mask, {}, [2, 3, 1, 4]),
      build([2, 3, 1, 4], (b, h, _, j) => Number(j < b + h))
    )
    expect(() => table(mask, { T: 2, S: 2 })).toThrow("no axis of heads")
  })

  test("lengths, offsets and ids by batch entry, over scores of several ranks", () => {
    const n = bound("i32", dense([2], [1, 3]), ["B"])
    for (const [shape, sizes] of [
      [
        ["B", 3, "T", "S"],
        [2, 3, 4, 5]
      ],
      [
        ["B", "T", "S"],
        [2, 4, 5]
      ],
      [
        ["B", 3, 2, "T", "S"],
        [2, 3, 2, 4, 5]
      ]
    ] as const) {
      const positions = (p: ReadonlyArray<number>) => [p[0], p.at(-2), p.at(-1)] as [number, number, number]
      const own = (f: (b: number, i: number, j: number) => boolean) =>
        build(sizes, (...p) => Number(f(...positions(p))))
      const count = (b: number): number => (b === 0 ? 1 : 3)
      const bind = { B: 2, T: 4, S: 5 }
      expectDense(
        table(Mask.padding(n.tensor), bind, shape, [n]),
        own((b, _, j) => j < count(b))
      )
      expectDense(
        table(Mask.causalFrom(n.tensor), bind, shape, [n]),
        own((b, i, j) => j <= i + count(b))
      )
    }
  })

  test("documents", () => {
    const one = bound("i32", dense([5], [0, 0, 1, 1, 4]))
    const ids = [0, 0, 1, 1, 4]
    expectDense(
      table(Mask.document(one.tensor), {}, [2, 3, 5, 5], [one]),
      build([2, 3, 5, 5], (_b, _h, i, j) => Number(ids[i] === ids[j]))
    )
    const queries = bound("i32", dense([2, 3], [0, 1, 1, 2, 2, 3]), ["B", "T"])
    const keys = bound("i32", dense([2, 4], [0, 0, 1, 9, 3, 2, 2, 2]), ["B", "S"])
    const [q, k] = [dense([2, 3], [0, 1, 1, 2, 2, 3]), dense([2, 4], [0, 0, 1, 9, 3, 2, 2, 2])]
    for (const middle of [[], [2], [2, 1]]) {
      const shape = ["B", ...middle, "T", "S"]
      const expected = build([2, ...middle, 3, 4], (...p) => {
        const [b, i, j] = [p[0], p.at(-2), p.at(-1)] as [number, number, number]
        return Number(at(q, b, i) === at(k, b, j))
      })
      expectDense(table(Mask.document(queries.tensor, keys.tensor), {}, shape, [queries, keys]), expected)
    }
  })
})

describe("apply", () => {
  const x = randomDense(1, [2, 3, 4, 5])
  const scores = () => bound("f64", x, ["B", 3, "T", "S"])
  test("takes keys out with -inf, or with a fill", () => {
    const a = scores()
    const causal = (fill: number) => build(x.shape, (b, h, i, j) => (j <= i ? at(x, b, h, i, j) : fill))
    expectDense(run(Mask.apply(a.tensor, Mask.causal), [a]), causal(-Infinity))
    expectDense(run(a.tensor.pipe(Mask.apply(Mask.causal)), [a]), causal(-Infinity))
    expectDense(run(a.tensor.pipe(Mask.apply(Mask.causal, -1e9)), [a]), causal(-1e9))
  })
  test("polarity is in the type: a Drop hides where it holds", () => {
    const a = scores()
    const expected = run(Mask.apply(a.tensor, Mask.causal), [a])
    expectDense(run(Mask.apply(a.tensor, Mask.toDrop(Mask.causal)), [a]), expected)
    expectDense(
      run(
        Mask.apply(
          a.tensor,
          Mask.dropWhere(({ query, key }) => Tensor.gt(key, query))
        ),
        [a]
      ),
      expected
    )
    expectDense(run(Mask.apply(a.tensor, Mask.toKeep(Mask.toDrop(Mask.causal))), [a]), expected)
  })
  test("masks that are data", () => {
    const keep = build([4, 5], (i, j) => (i * 3 + j) % 2)
    const [a, m] = [scores(), bound("bool", keep, ["T", "S"])]
    const expected = (kept: number) =>
      build(x.shape, (b, h, i, j) => (at(keep, i, j) === kept ? at(x, b, h, i, j) : -Infinity))
    expectDense(run(Mask.apply(a.tensor, Mask.fromTensor(m.tensor)), [a, m]), expected(1))
    expectDense(run(Mask.apply(a.tensor, Mask.dropFromTensor(m.tensor)), [a, m]), expected(0))
  })
  test("a row that sees nothing gives 0 after the softmax", () => {
    const a = scores()
    const result = run(a.tensor.pipe(Mask.apply(Mask.none), Tensor.softmax(-1)), [a])
    expect(result.data.every((v) => v === 0)).toBe(true)
  })
  test("a mask never stretches scores", () => {
    const one = Tensor.zeros([1, 3, 4, 5])
    expect(() => Mask.apply(one, Mask.fromTensor(Tensor.ones([2, 1, 4, 5], "bool")))).toThrow(
      "does not broadcast to scores f32[1, 3, 4, 5]"
    )
    expect(() => Mask.apply(Tensor.zeros([4, 5]), Mask.fromTensor(Tensor.ones([2, 4, 5], "bool")))).toThrow(
      "does not broadcast"
    )
    expect(() => Mask.apply(Tensor.zeros([5]) as Tensor.Tensor, Mask.causal)).toThrow(
      "axes of queries and keys"
    )
  })
  test("distances are whole numbers", () => {
    expect(() => Mask.slidingWindow(-1)).toThrow("-1 is not a distance")
    expect(() => Mask.chunked(0)).toThrow("0 is not a distance")
    expect(() => Mask.dilated(1.5, 1)).toThrow("1.5 is not a distance")
  })
})
