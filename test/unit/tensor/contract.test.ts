import { describe, expect, test } from "vitest"
import * as Tensor from "../../../src/Tensor.ts"
import { at, bound, build, type Dense, expectDense, randomDense, run } from "../../support/tensors.ts"

/** NumPy's matmul on tensors of rank 2 or more, one element at a time. */
const product = (x: Dense, y: Dense): Dense => {
  const rank = Math.max(x.shape.length, y.shape.length)
  const pad = (s: ReadonlyArray<number>) => [...Array.from({ length: rank - s.length }, () => 1), ...s]
  const [a, b] = [
    { ...x, shape: pad(x.shape) },
    { ...y, shape: pad(y.shape) }
  ]
  const batch = a.shape.slice(0, -2).map((n, i) => (n === 1 ? (b.shape[i] as number) : n))
  const [m, k, n] = [a.shape.at(-2) as number, a.shape.at(-1) as number, b.shape.at(-1) as number]
  return build([...batch, m, n], (...position) => {
    const [i, j] = position.slice(-2) as [number, number]
    const own = (d: Dense) => position.slice(0, -2).map((p, axis) => (d.shape[axis] === 1 ? 0 : p))
    let sum = 0
    for (let l = 0; l < k; l++) sum += at(a, ...own(a), i, l) * at(b, ...own(b), l, j)
    return sum
  })
}

describe("matmul", () => {
  const shapes: ReadonlyArray<readonly [ReadonlyArray<number>, ReadonlyArray<number>]> = [
    [
      [2, 3],
      [3, 5]
    ],
    [
      [1, 1],
      [1, 1]
    ],
    [
      [4, 2, 3],
      [3, 5]
    ],
    [
      [2, 3],
      [4, 3, 5]
    ],
    [
      [4, 2, 3],
      [4, 3, 5]
    ],
    [
      [4, 2, 3],
      [1, 3, 5]
    ],
    [
      [1, 2, 3],
      [4, 3, 5]
    ],
    [
      [2, 3, 4, 2, 7],
      [2, 3, 1, 7, 5]
    ],
    [
      [2, 3, 4, 2, 7],
      [3, 1, 7, 5]
    ],
    [
      [2, 1, 4, 2, 7],
      [1, 3, 1, 7, 5]
    ],
    [
      [5, 1, 2, 3],
      [1, 4, 3, 2]
    ],
    [
      [2, 0, 3],
      [2, 3, 4]
    ],
    [
      [2, 3, 0],
      [2, 0, 4]
    ]
  ]
  test.each(shapes)("%j with %j", (s, t) => {
    const [x, y] = [randomDense(1, s), randomDense(2, t)]
    const [a, b] = [bound("f64", x), bound("f64", y)]
    expectDense(run(Tensor.matmul(a.tensor, b.tensor), [a, b]), product(x, y))
    expectDense(run(a.tensor.pipe(Tensor.matmul(b.tensor)), [a, b]), product(x, y))
  })

  test("symbols stand for sizes, one program for all", () => {
    const [x, y] = [randomDense(3, [2, 5, 3]), randomDense(4, [2, 3, 7])]
    const [a, b] = [bound("f64", x, ["B", "T", 3]), bound("f64", y, ["B", "K", "S"])]
    const result = Tensor.matmul(a.tensor, b.tensor)
    expect(result.shape).toEqual(["B", "T", "S"])
    expectDense(run(result, [a, b]), product(x, y))
  })

  test("vectors are rows on the left and columns on the right", () => {
    const [x, y, u, v] = [
      randomDense(1, [4, 3]),
      randomDense(2, [5, 3, 2]),
      randomDense(3, [3]),
      randomDense(4, [3])
    ]
    const [a, b, c, d] = [bound("f64", x), bound("f64", y), bound("f64", u), bound("f64", v)]
    const dot = (i: (l: number) => number, j: (l: number) => number): number =>
      i(0) * j(0) + i(1) * j(1) + i(2) * j(2)
    const into = (n: number) => (l: number) => at(u, l) * n
    expectDense(
      run(Tensor.matmul(a.tensor, c.tensor), [a, c]),
      build([4], (i) => dot((l) => at(x, i, l), into(1)))
    )
    expectDense(
      run(Tensor.matmul(c.tensor, b.tensor), [c, b]),
      build([5, 2], (n, j) => dot(into(1), (l) => at(y, n, l, j)))
    )
    expectDense(
      run(Tensor.matmul(c.tensor, d.tensor), [c, d]),
      build([], () => dot(into(1), (l) => at(v, l)))
    )
  })

  test("operands promote", () => {
    const [a, b] = [bound("i32", randomDense(1, [2, 3], true)), bound("f32", randomDense(2, [3, 2]))]
    expect(Tensor.matmul(a.tensor, b.tensor).dtype).toBe("f32")
  })
})

describe("einsum", () => {
  /** The sum over all assignments of the letters, which is what the notation means. */
  const definition = (equation: string, operands: ReadonlyArray<Dense>): Dense => {
    const [left, right] = equation.split("->") as [string, string]
    const terms = left.split(",")
    const sizes = new Map<string, number>()
    terms.forEach((term, i) => {
      term.split("").forEach((l, axis) => {
        const size = operands[i]?.shape[axis] as number
        if (size !== 1 || !sizes.has(l)) sizes.set(l, size)
      })
    })
    const gone = [...sizes.keys()].filter((l) => !right.includes(l))
    const over = (letters: ReadonlyArray<string>, known: Map<string, number>): number => {
      const [first, ...rest] = letters
      if (first === undefined) {
        return terms.reduce((p, term, i) => {
          const x = operands[i] as Dense
          const position = term
            .split("")
            .map((l, axis) => (x.shape[axis] === 1 ? 0 : (known.get(l) as number)))
          return p * at(x, ...position)
        }, 1)
      }
      let sum = 0
      for (let v = 0; v < (sizes.get(first) as number); v++)
        sum += over(rest, new Map([...known, [first, v]]))
      return sum
    }
    const shape = right.split("").map((l) => sizes.get(l) as number)
    return build(shape, (...p) => over(gone, new Map(right.split("").map((l, i) => [l, p[i] as number]))))
  }

  const cases: ReadonlyArray<readonly [string, ReadonlyArray<ReadonlyArray<number>>]> = [
    [
      "ij,jk->ik",
      [
        [2, 3],
        [3, 4]
      ]
    ],
    [
      "bhqd,bhkd->bhqk",
      [
        [2, 3, 4, 5],
        [2, 3, 6, 5]
      ]
    ],
    [
      "bqhd,bkhd->bhqk",
      [
        [2, 4, 3, 5],
        [2, 6, 3, 5]
      ]
    ],
    [
      "bhkd,bhqd->bhqk",
      [
        [2, 3, 6, 5],
        [2, 3, 4, 5]
      ]
    ],
    [
      "bhqk,bkhd->bqhd",
      [
        [2, 3, 4, 6],
        [2, 6, 3, 5]
      ]
    ],
    [
      "bgnqd,bgkd->bgnqk",
      [
        [2, 2, 3, 4, 5],
        [2, 2, 6, 5]
      ]
    ],
    ["i,j->ij", [[3], [4]]],
    ["i,i->i", [[3], [3]]],
    ["ij->ji", [[2, 3]]],
    ["ij->i", [[2, 3]]],
    ["ij->", [[2, 3]]],
    ["ii->i", [[3, 3]]],
    ["ii->", [[3, 3]]],
    ["iij->ji", [[3, 3, 2]]],
    [
      "ij,kl->ik",
      [
        [2, 3],
        [4, 5]
      ]
    ],
    [
      "ij,ij->j",
      [
        [1, 3],
        [4, 3]
      ]
    ],
    ["i,ij,j->", [[2], [2, 3], [3]]],
    [
      "ab,bc,cd->ad",
      [
        [2, 3],
        [3, 4],
        [4, 2]
      ]
    ]
  ]
  test.each(cases)("%s", (equation, shapes) => {
    const operands = shapes.map((s, i) => randomDense(i + 1, s))
    const inputs = operands.map((x) => bound("f64", x))
    const [first, ...rest] = inputs.map((x) => x.tensor) as [Tensor.Tensor, ...Array<Tensor.Tensor>]
    const call = Tensor.einsum as (
      equation: string,
      ...operands: ReadonlyArray<Tensor.Tensor>
    ) => Tensor.Tensor
    expectDense(run(call(equation, first, ...rest), inputs), definition(equation, operands))
  })

  test("the first operand may come through a pipe", () => {
    const [x, y] = [randomDense(1, [2, 3]), randomDense(2, [3, 4])]
    const [a, b] = [bound("f64", x), bound("f64", y)]
    expectDense(
      run(a.tensor.pipe(Tensor.einsum("ij,jk->ik", b.tensor)), [a, b]),
      definition("ij,jk->ik", [x, y])
    )
  })

  test("an ellipsis stands for batch axes, which broadcast; without an arrow the result is alphabetical", () => {
    const [x, y] = [randomDense(1, [2, 1, 4, 5]), randomDense(2, [3, 6, 5])]
    const [a, b] = [bound("f64", x), bound("f64", y)]
    const expected = definition("abqd,bkd->abqk", [x, y])
    expectDense(run(Tensor.einsum("...qd,...kd->...qk", a.tensor, b.tensor), [a, b]), expected)
    const c = bound("f64", randomDense(3, [2, 3]))
    expectDense(run(Tensor.einsum("ba", c.tensor), [c]), definition("ba->ab", [randomDense(3, [2, 3])]))
  })

  test("symbols", () => {
    const [x, y] = [randomDense(1, [2, 5, 3]), randomDense(2, [2, 7, 3])]
    const [a, b] = [bound("f64", x, ["B", "T", "D"]), bound("f64", y, ["B", "S", "D"])]
    const result = Tensor.einsum("bqd,bkd->bqk", a.tensor, b.tensor)
    expect(result.shape).toEqual(["B", "T", "S"])
    expectDense(run(result, [a, b]), definition("bqd,bkd->bqk", [x, y]))
  })

  test("mistakes are named", () => {
    const [a, b] = [Tensor.zeros([2, 3]), Tensor.zeros([4, 5])]
    const call = Tensor.einsum as (
      equation: string,
      ...operands: ReadonlyArray<Tensor.Tensor>
    ) => Tensor.Tensor
    expect(() => call("ij,jk->ik", a, b)).toThrow("j is 3 and 4")
    expect(() => call("ij,kl->iz", a, b)).toThrow("the result names z")
    expect(() => call("i?,kl->i", a, b)).toThrow('"?" is not a letter')
    expect(() => call("ijk,kl->i", a, b)).toThrow('"ijk" names 3 axes of f32[2, 3]')
    expect(() => call("ij->ii", a)).toThrow("names i twice")
    expect(() => call("ij->i->j", a)).toThrow("two arrows")
    expect(() => call("ij,jk,kl->il", a)).toThrow("takes 3 operands, not 1")
  })
})
