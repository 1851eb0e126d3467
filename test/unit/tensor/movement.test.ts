import { pipe } from "effect"
import { describe, expect, test } from "vitest"
import * as Dim from "../../../ir/Dim.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { at, bound, build, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const x = randomDense(1, [2, 3, 5])
const input = () => bound("f64", x, ["B", 3, "T"])

describe("order of axes", () => {
  test("transpose swaps the last two, or orders all", () => {
    const a = input()
    const swapped = build([2, 5, 3], (b, t, i) => at(x, b, i, t))
    expectDense(run(Tensor.transpose(a.tensor), [a]), swapped)
    expectDense(run(a.tensor.pipe(Tensor.transpose()), [a]), swapped)
    expectDense(run(a.tensor.pipe(Tensor.transpose), [a]), swapped)
    const turned = build([5, 2, 3], (t, b, i) => at(x, b, i, t))
    expectDense(run(Tensor.transpose(a.tensor, [2, 0, 1]), [a]), turned)
    expectDense(run(a.tensor.pipe(Tensor.permute([-1, 0, 1])), [a]), turned)
  })
  test("swapAxes and moveAxis", () => {
    const a = input()
    expectDense(
      run(Tensor.swapAxes(a.tensor, 0, -1), [a]),
      build([5, 3, 2], (t, i, b) => at(x, b, i, t))
    )
    expectDense(run(a.tensor.pipe(Tensor.swapAxes(1, 1)), [a]), x)
    expectDense(
      run(Tensor.moveAxis(a.tensor, 0, -1), [a]),
      build([3, 5, 2], (i, t, b) => at(x, b, i, t))
    )
    expectDense(
      run(a.tensor.pipe(Tensor.moveAxis(-1, 0)), [a]),
      build([5, 2, 3], (t, b, i) => at(x, b, i, t))
    )
  })
  test("flip", () => {
    const a = input()
    expectDense(
      run(Tensor.flip(a.tensor, -1), [a]),
      build([2, 3, 5], (b, i, t) => at(x, b, i, 4 - t))
    )
  })
})

describe("shape", () => {
  test("reshape infers one size, also a symbolic one", () => {
    const a = input()
    expect(Tensor.reshape(a.tensor, [-1, 3]).shape).toEqual(["B*T", 3])
    expect(Tensor.reshape(a.tensor, ["B", -1]).shape).toEqual(["B", "3*T"])
    expect(a.tensor.pipe(Tensor.reshape(["B*T", 3])).shape).toEqual(["B*T", 3])
    expectDense(run(Tensor.reshape(a.tensor, [-1]), [a]), dense([30], x.data))
  })
  test("a reshape that holds only at some lengths is checked when they are known", () => {
    const a = input()
    expectDense(run(Tensor.reshape(a.tensor, [6, 5]), [a]), dense([6, 5], x.data))
    expect(() => run(Tensor.reshape(a.tensor, [6, 6]), [a])).toThrow("reshape")
  })
  test("flatten, expandDims, squeeze", () => {
    const a = input()
    expect(Tensor.flatten(a.tensor).shape).toEqual(["3*B*T"])
    expect(Tensor.flatten(a.tensor, 1).shape).toEqual(["B", "3*T"])
    expect(a.tensor.pipe(Tensor.flatten(0, 1)).shape).toEqual(["3*B", "T"])
    expect(Tensor.flatten(Tensor.constant(3)).shape).toEqual([1])
    expect(Tensor.expandDims(a.tensor, -1).shape).toEqual(["B", 3, "T", 1])
    expect(a.tensor.pipe(Tensor.expandDims(0)).shape).toEqual([1, "B", 3, "T"])
    const wide = Tensor.reshape(a.tensor, [1, "B", 3, 1, "T"])
    expect(Tensor.squeeze(wide).shape).toEqual(["B", 3, "T"])
    expect(wide.pipe(Tensor.squeeze(-2)).shape).toEqual([1, "B", 3, "T"])
  })
  test("broadcastTo, repeatHeads, repeat, tile", () => {
    const a = input()
    expectDense(
      run(Tensor.broadcastTo(Tensor.expandDims(a.tensor, 1), [4, "B", 2, 3, "T"]), [a]),
      build([4, 2, 2, 3, 5], (_a, b, _c, i, t) => at(x, b, i, t))
    )
    expectDense(
      run(Tensor.repeatHeads(a.tensor, 4), [a]),
      build([8, 3, 5], (b, i, t) => at(x, Math.floor(b / 4), i, t))
    )
    expectDense(
      run(a.tensor.pipe(Tensor.repeat(2, -1)), [a]),
      build([2, 3, 10], (b, i, t) => at(x, b, i, t >> 1))
    )
    expectDense(
      run(Tensor.tile(a.tensor, [2, 3]), [a]),
      build([2, 6, 15], (b, i, t) => at(x, b, i % 3, t % 5))
    )
    expectDense(
      run(a.tensor.pipe(Tensor.tile([2, 1, 1, 1])), [a]),
      build([2, 2, 3, 5], (_, b, i, t) => at(x, b, i, t))
    )
  })
})

describe("slice", () => {
  const list = build([7], (i) => i)
  /** Python's slice semantics, from its definition by indices. */
  const python = (
    n: number,
    start: number | undefined,
    stop: number | undefined,
    step: number
  ): Array<number> => {
    const clamp = (v: number): number => {
      const own = v < 0 ? v + n : v
      return step > 0 ? Math.min(Math.max(own, 0), n) : Math.min(Math.max(own, -1), n - 1)
    }
    const from = start === undefined ? (step > 0 ? 0 : n - 1) : clamp(start)
    const to = stop === undefined ? (step > 0 ? n : -1) : clamp(stop)
    const out: Array<number> = []
    for (let i = from; step > 0 ? i < to : i > to; i += step) out.push(i)
    return out
  }
  const ends = [undefined, -9, -7, -3, 0, 2, 6, 7, 11]
  const cases = ends.flatMap((start) =>
    ends.flatMap((stop) => [1, 2, 3, -1, -2].map((step) => ({ start, stop, step })))
  )
  test("agrees with Python everywhere", () => {
    const a = bound("f64", list)
    for (const { start, stop, step } of cases) {
      const range = {
        step,
        ...(start === undefined ? {} : { start }),
        ...(stop === undefined ? {} : { stop })
      }
      const got = run(Tensor.slice(a.tensor, 0, range), [a]).data
      expect(got, JSON.stringify(range)).toEqual(python(7, start, stop, step))
    }
  })
  test("symbolic sizes", () => {
    const a = bound("f64", list, ["T"])
    expect(Tensor.slice(a.tensor, 0, { start: -3 }).shape).toEqual([3])
    expect(Tensor.slice(a.tensor, 0, { start: 2 }).shape).toEqual(["T - 2"])
    expect(run(a.tensor.pipe(Tensor.slice(0, { start: -3 })), [a]).data).toEqual([4, 5, 6])
    expect(run(Tensor.slice(a.tensor, 0, { start: 2, stop: "T" }), [a]).data).toEqual([2, 3, 4, 5, 6])
    expect(run(Tensor.slice(a.tensor, 0, { step: -1 }), [a]).data).toEqual([6, 5, 4, 3, 2, 1, 0])
    expect(() => run(Tensor.slice(a.tensor, 0, { stop: 9 }), [a])).toThrow("stops within its size")
  })
})

describe("join and take apart", () => {
  const y = randomDense(2, [2, 3, 2])
  test("concat adds lengths, symbols too", () => {
    const [a, b] = [input(), bound("f64", y, ["B", 3, "P"])]
    const joined = Tensor.concat([b.tensor, a.tensor], -1)
    expect(joined.shape).toEqual(["B", 3, "P + T"])
    const expected = build([2, 3, 7], (n, i, t) => (t < 2 ? at(y, n, i, t) : at(x, n, i, t - 2)))
    expectDense(run(joined, [a, b]), expected)
    expectDense(run(pipe([b.tensor, a.tensor], Tensor.concat(2)), [a, b]), expected)
    expect(Tensor.concat([a.tensor, Tensor.zeros(["B", 3, 1], "f16")], -1).dtype).toBe("f64")
  })
  test("stack", () => {
    const [a, b] = [input(), bound("f64", randomDense(3, [2, 3, 5]), ["B", 3, "T"])]
    const z = randomDense(3, [2, 3, 5])
    expectDense(
      run(Tensor.stack([a.tensor, b.tensor], 1), [a, b]),
      build([2, 2, 3, 5], (n, k, i, t) => at(k === 0 ? x : z, n, i, t))
    )
    expect(Tensor.stack([a.tensor, b.tensor], -1).shape).toEqual(["B", 3, "T", 2])
  })
  test("split, in equal parts or by sizes", () => {
    const a = bound("f64", x, ["B", 3, 5])
    const [q, k, v] = Tensor.split(a.tensor, 3, 1)
    expectDense(
      run(k, [a]),
      build([2, 1, 5], (b, _, t) => at(x, b, 1, t))
    )
    expect([q.shape, v.shape]).toEqual([
      ["B", 1, 5],
      ["B", 1, 5]
    ])
    const [left, right] = a.tensor.pipe(Tensor.split([2, 3], -1))
    expect(left.shape).toEqual(["B", 3, 2])
    expectDense(
      run(right, [a]),
      build([2, 3, 3], (b, i, t) => at(x, b, i, t + 2))
    )
    expect(() => Tensor.split(a.tensor, 2, 1)).toThrow("does not split into 2 equal parts")
    expect(() => Tensor.split(a.tensor, [2, 2], 2)).toThrow("do not add up")
    const even = Tensor.zeros([Dim.mul(Dim.constant(2), Dim.symbol("T"))])
    expect(Tensor.split(even, 2)[0].shape).toEqual(["T"])
  })
  test("pad", () => {
    const a = input()
    const expected = build([2, 4, 7], (b, i, t) => (i < 1 || t >= 5 ? -1 : at(x, b, i - 1, t)))
    expectDense(
      run(
        Tensor.pad(
          a.tensor,
          [
            [0, 0],
            [1, 0],
            [0, 2]
          ],
          -1
        ),
        [a]
      ),
      expected
    )
  })
})

describe("labels and text", () => {
  test("a label changes no meaning, and tensors print as types", () => {
    const a = input()
    const named = a.tensor.pipe(Tensor.exp, Tensor.label("weights"))
    expect(Tensor.nodeOf(named).label).toBe("weights")
    expect(String(named)).toBe("f64[B, 3, T]")
    expect(named.rank).toBe(3)
  })
})
