import { describe, expect, test } from "vitest"
import * as Tensor from "../../../src/Tensor.ts"
import { at, bound, build, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const x = randomDense(1, [4, 3, 5])

describe("take", () => {
  const ids = dense([2, 2], [3, 0, 1, 1])
  test("positions in a tensor take the place of the axis", () => {
    const [a, i] = [bound("f64", x, ["N", 3, 5]), bound("i32", ids)]
    const expected = build([2, 2, 3, 5], (p, q, j, k) => at(x, at(ids, p, q), j, k))
    expectDense(run(Tensor.take(a.tensor, i.tensor, 0), [a, i]), expected)
    expectDense(run(a.tensor.pipe(Tensor.gather(i.tensor, 0)), [a, i]), expected)
    const last = bound("i32", dense([3], [4, 0, 2]))
    expectDense(
      run(Tensor.take(a.tensor, last.tensor, -1), [a, last]),
      build([4, 3, 3], (p, q, k) => at(x, p, q, [4, 0, 2][k] as number))
    )
  })
  test("written positions count from either end; one number drops the axis", () => {
    const a = bound("f64", x, ["N", 3, 5])
    expectDense(
      run(Tensor.take(a.tensor, [0, -1], 2), [a]),
      build([4, 3, 2], (p, q, k) => at(x, p, q, k === 0 ? 0 : 4))
    )
    expectDense(
      run(Tensor.take(a.tensor, [0, -1], 0), [a]),
      build([2, 3, 5], (p, q, k) => at(x, p === 0 ? 0 : 3, q, k))
    )
    expectDense(
      run(a.tensor.pipe(Tensor.take(-1, 0)), [a]),
      build([3, 5], (q, k) => at(x, 3, q, k))
    )
    expectDense(
      run(Tensor.take(a.tensor, 1, 1), [a]),
      build([4, 5], (p, k) => at(x, p, 1, k))
    )
    expect(() => Tensor.take(a.tensor, 3, 1)).toThrow("position 3 is outside axis 1")
  })
  test("takeAlongAxis reads one element for each position", () => {
    const own = build([4, 3, 2], (i, j, k) => (i * 7 + j * 3 + k * 2) % 5)
    const [a, i] = [bound("f64", x, ["N", 3, "T"]), bound("i32", own, ["N", 3, 2])]
    const expected = build([4, 3, 2], (p, q, k) => at(x, p, q, at(own, p, q, k)))
    expectDense(run(Tensor.takeAlongAxis(a.tensor, i.tensor, -1), [a, i]), expected)
    expectDense(run(a.tensor.pipe(Tensor.takeAlongAxis(i.tensor, 2)), [a, i]), expected)
    const rows = build([2, 3, 5], (i, j, k) => (i + j + k) % 4)
    const r = bound("i32", rows)
    expectDense(
      run(Tensor.takeAlongAxis(a.tensor, r.tensor, 0), [a, r]),
      build([2, 3, 5], (p, q, k) => at(x, at(rows, p, q, k), q, k))
    )
  })
})

describe("updateSlice", () => {
  const part = randomDense(2, [4, 3, 2])
  test("writes at a number, a length, a scalar, and one start for each batch entry", () => {
    const [a, u] = [bound("f64", x), bound("f64", part)]
    const expected = (start: (b: number) => number) =>
      build([4, 3, 5], (b, j, k) => {
        const from = k - start(b)
        return from >= 0 && from < 2 ? at(part, b, j, from) : at(x, b, j, k)
      })
    expectDense(
      run(Tensor.updateSlice(a.tensor, u.tensor, 2, { axis: -1 }), [a, u]),
      expected(() => 2)
    )
    expectDense(
      run(a.tensor.pipe(Tensor.updateSlice(u.tensor, 0, { axis: 2 })), [a, u]),
      expected(() => 0)
    )
    expectDense(
      run(Tensor.updateSlice(a.tensor, u.tensor, "P", { axis: 2 }), [a, u], { P: 3 }),
      expected(() => 3)
    )
    const starts = bound("i32", dense([4], [0, 1, 2, 3]))
    expectDense(
      run(Tensor.updateSlice(a.tensor, u.tensor, starts.tensor, { axis: 2 }), [a, u, starts]),
      expected((b) => b)
    )
  })
  test("what falls off the end is dropped, or wraps", () => {
    const [a, u] = [bound("f64", dense([1, 3], [1, 2, 3])), bound("f64", dense([1, 2], [8, 9]))]
    expect(run(Tensor.updateSlice(a.tensor, u.tensor, 2, { axis: 1 }), [a, u]).data).toEqual([1, 2, 8])
    expect(run(Tensor.updateSlice(a.tensor, u.tensor, 2, { axis: 1, wrap: true }), [a, u]).data).toEqual([
      9, 2, 8
    ])
  })
})

describe("scatter", () => {
  test("writes entries at positions of one axis, or of several; what is outside is dropped", () => {
    const a = bound("f64", dense([3, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))
    const whole = bound("f64", dense([2, 2, 2], [-1, -2, -3, -4, -5, -6, -7, -8]))
    const rows = bound("i32", dense([2], [2, -1]))
    expect(
      run(Tensor.scatter(a.tensor, whole.tensor, [rows.tensor as never]), [a, whole, rows]).data
    ).toEqual([1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4])
    const entries = bound("f64", dense([3, 2], [-1, -2, -3, -4, -5, -6]))
    const [page, row] = [bound("i32", dense([3], [1, 0, 0])), bound("i32", dense([3], [0, 2, 1]))]
    const positions = [page.tensor, row.tensor] as never
    expect(run(Tensor.scatter(a.tensor, entries.tensor, positions), [a, entries, page, row]).data).toEqual([
      1, 2, -5, -6, -1, -2, 7, 8, 9, 10, 11, 12
    ])
  })
  test("refuses what has no place", () => {
    const a = bound("f64", dense([3, 2], [1, 2, 3, 4, 5, 6])).tensor
    const [one, two] = [
      bound("i32", dense([2], [0, 1])).tensor,
      bound("i32", dense([3], [0, 1, 2])).tensor
    ] as never[]
    expect(() => Tensor.scatter(a, a, [])).toThrow(
      /needs positions for one axis of its first operand or more/
    )
    expect(() => Tensor.scatter(a, a, [one as never])).toThrow(/one position for each entry/)
    expect(() => Tensor.scatter(a, a, [two as never, two as never])).toThrow(/an entry for each position/)
  })
})

describe("sources", () => {
  test("oneHot", () => {
    const i = bound("i32", dense([3], [2, 0, 5]), ["T"])
    expect(run(Tensor.oneHot(i.tensor, 3), [i])).toMatchObject({
      dtype: "f32",
      shape: [3, 3],
      data: [0, 0, 1, 1, 0, 0, 0, 0, 0]
    })
    const first = i.tensor.pipe(Tensor.oneHot(3, { axis: 0, dtype: "i32" }))
    expect(run(first, [i])).toMatchObject({ dtype: "i32", data: [0, 1, 0, 0, 0, 0, 1, 0, 0] })
  })
  test("full, zeros, ones, constant, fromValues", () => {
    expect(run(Tensor.full(["T", 2], 0.5), [], { T: 2 })).toMatchObject({
      dtype: "f32",
      shape: [2, 2],
      data: [0.5, 0.5, 0.5, 0.5]
    })
    expect(run(Tensor.zeros([2], "i32"))).toMatchObject({ dtype: "i32", data: [0, 0] })
    expect(run(Tensor.ones([0, 2])).data).toEqual([])
    expect(run(Tensor.constant(true, "bool"))).toMatchObject({ dtype: "bool", shape: [], data: [1] })
    expect(
      run(
        Tensor.fromValues([
          [1, 2, 3],
          [4, 5, 6]
        ])
      )
    ).toMatchObject({ shape: [2, 3], data: [1, 2, 3, 4, 5, 6] })
    expect(run(Tensor.fromValues([true, false], "bool")).data).toEqual([1, 0])
    expect(run(Tensor.fromValues([])).shape).toEqual([0])
    expect(() => Tensor.fromValues([[1], [2, 3]] as never)).toThrow("do not form a shape")
    expect(() => Tensor.fromValues([1, [2]] as never)).toThrow("do not form a shape")
  })
  test("iota, arange, positions, size, dim", () => {
    expect(run(Tensor.iota("T"), [], { T: 4 }).data).toEqual([0, 1, 2, 3])
    expect(run(Tensor.arange(3)).data).toEqual([0, 1, 2])
    expect(run(Tensor.arange(2, 9, 3))).toMatchObject({ dtype: "i32", data: [2, 5, 8] })
    expect(run(Tensor.arange(1, -1, -0.5))).toMatchObject({ dtype: "f32", data: [1, 0.5, 0, -0.5] })
    expect(run(Tensor.arange(3, 1)).data).toEqual([])
    const a = bound("f64", x, ["N", 3, "T"])
    expect(run(Tensor.positions(a.tensor, -1), [a]).data).toEqual([0, 1, 2, 3, 4])
    expect(run(Tensor.size(a.tensor, -1), [a])).toMatchObject({ dtype: "i32", shape: [], data: [5] })
    expect(run(Tensor.size(a.tensor), [a]).data).toEqual([60])
    expect(run(Tensor.dim("S - 2*T"), [], { S: 3, T: 4 }).data).toEqual([-5])
    expect(() => Tensor.dim("S -")).toThrow("not a polynomial")
  })
  test("tril and triu", () => {
    const a = bound("f64", x, ["N", "R", 5])
    for (const d of [-2, -1, 0, 1, 3]) {
      expectDense(
        run(Tensor.tril(a.tensor, d), [a]),
        build([4, 3, 5], (b, i, j) => (j <= i + d ? at(x, b, i, j) : 0))
      )
      expectDense(
        run(a.tensor.pipe(Tensor.triu(d)), [a]),
        build([4, 3, 5], (b, i, j) => (j >= i + d ? at(x, b, i, j) : 0))
      )
    }
  })
})

describe("random numbers", () => {
  test("uniform is in [0, 1), even, and a function of the seed", () => {
    const draw = (seed: number) => run(Tensor.uniform(seed, [64, 64])).data
    const values = draw(7)
    expect(Math.min(...values)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...values)).toBeLessThan(1)
    // The mean of n uniform numbers has a standard deviation of 1 / sqrt(12 n); six of them are never seen.
    const mean = values.reduce((a, b) => a + b, 0) / values.length
    expect(Math.abs(mean - 0.5)).toBeLessThan(6 / Math.sqrt(12 * values.length))
    expect(draw(7)).toEqual(values)
    expect(draw(8)).not.toEqual(values)
    const seed = bound("u32", dense([], [7]))
    expect(run(Tensor.uniform(seed.tensor, ["T", 64]), [seed], { T: 64 }).data).toEqual(values)
  })
  test("dropout keeps the mean, and drops at its rate", () => {
    const ones = Tensor.ones([64, 64], "f64")
    const kept = run(Tensor.dropoutMask(3, [64, 64], 0.25)).data
    const rate = 1 - kept.reduce((a, b) => a + b, 0) / kept.length
    expect(Math.abs(rate - 0.25)).toBeLessThan(6 * Math.sqrt((0.25 * 0.75) / kept.length))
    expectDense(
      run(Tensor.dropout(ones, { rate: 0.25, seed: 3 })),
      dense(
        [64, 64],
        kept.map((k) => k / 0.75)
      )
    )
    expect(run(ones.pipe(Tensor.dropout({ rate: 1, seed: 3 }))).data.every((v) => v === 0)).toBe(true)
    expect(() => Tensor.dropout(ones, { rate: 1.5, seed: 3 })).toThrow("no probability")
    expect(() => Tensor.uniform(-1, [2])).toThrow("not a seed")
  })
})

describe("rope", () => {
  const q = randomDense(4, [2, 3, 5, 8])
  /** Rotation of pairs by complex multiplication. */
  const rotated = (
    pair: (c: number) => readonly [first: number, second: number, index: number] | undefined,
    angle: (b: number, t: number, index: number) => number
  ) =>
    build([2, 3, 5, 8], (b, h, t, c) => {
      const own = pair(c)
      if (own === undefined) return at(q, b, h, t, c)
      const [first, second, index] = own
      const [re, im] = [at(q, b, h, t, first), at(q, b, h, t, second)]
      const a = angle(b, t, index)
      return c === first ? re * Math.cos(a) - im * Math.sin(a) : re * Math.sin(a) + im * Math.cos(a)
    })
  const half = (r: number) => (c: number) =>
    c >= r ? undefined : c < r / 2 ? ([c, c + r / 2, c] as const) : ([c - r / 2, c, c - r / 2] as const)
  const neighbours = (r: number) => (c: number) =>
    c >= r ? undefined : ([c - (c % 2), c - (c % 2) + 1, (c - (c % 2)) / 2] as const)
  const turn =
    (r: number, base = 10000) =>
    (position: number, index: number) =>
      position * base ** ((-2 * index) / r)
  const input = () => bound("f64", q, ["B", 3, "T", 8])

  test("half-split and interleaved", () => {
    const a = input()
    expectDense(
      run(Tensor.rope(a.tensor), [a]),
      rotated(half(8), (_, t, i) => turn(8)(t, i))
    )
    expectDense(
      run(a.tensor.pipe(Tensor.rope({ interleaved: true })), [a]),
      rotated(neighbours(8), (_, t, i) => turn(8)(t, i))
    )
  })
  test("part of the head, another base, a scale", () => {
    const a = input()
    const angle = (_: number, t: number, i: number) => 0.5 * turn(4, 500)(t, i)
    expectDense(run(Tensor.rope(a.tensor, { dims: 4, base: 500, scale: 0.5 }), [a]), rotated(half(4), angle))
    expectDense(
      run(Tensor.rope(a.tensor, { dims: 4, base: 500, scale: 0.5, interleaved: true }), [a]),
      rotated(neighbours(4), angle)
    )
  })
  test("offsets: a number, a length, one for each batch entry", () => {
    const a = input()
    const by = (offset: (b: number) => number) => rotated(half(8), (b, t, i) => turn(8)(t + offset(b), i))
    expectDense(
      run(Tensor.rope(a.tensor, { offset: 7 }), [a]),
      by(() => 7)
    )
    expectDense(
      run(Tensor.rope(a.tensor, { offset: "P" }), [a], { P: 4 }),
      by(() => 4)
    )
    const each = bound("i32", dense([2], [3, 9]))
    expectDense(
      run(Tensor.rope(a.tensor, { offset: each.tensor }), [a, each]),
      by((b) => (b === 0 ? 3 : 9))
    )
  })
  test("positions, and angles that are given", () => {
    const a = input()
    const own = randomDense(5, [2, 5], true)
    const expected = rotated(half(8), (b, t, i) => turn(8)(at(own, b, t), i))
    const positions = bound("i32", own)
    expectDense(run(Tensor.rope(a.tensor, { positions: positions.tensor }), [a, positions]), expected)
    const angles = build([2, 5, 4], (b, t, i) => turn(8)(at(own, b, t), i))
    const [cos, sin] = [Math.cos, Math.sin].map((f) => bound("f64", dense([2, 5, 4], angles.data.map(f))))
    if (cos === undefined || sin === undefined) throw new Error("both are there")
    expectDense(run(Tensor.rope(a.tensor, { cos: cos.tensor, sin: sin.tensor }), [a, cos, sin]), expected)
  })
  test("mistakes are named", () => {
    const a = Tensor.zeros([2, 8])
    expect(() => Tensor.rope(a, { dims: 3 })).toThrow("cannot turn 3 of the 8 elements")
    expect(() => Tensor.rope(a, { cos: a })).toThrow("sin is missing")
    expect(() => Tensor.rope(Tensor.zeros([2, "D"]))).toThrow("the last axis must be a number")
  })
})
