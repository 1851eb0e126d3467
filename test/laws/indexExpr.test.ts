import { describe, expect, test } from "vitest"
import * as Dim from "../../ir/Dim.ts"
import * as Shape from "../../ir/Shape.ts"
import * as IndexExpr from "../../passes/fusion/IndexExpr.ts"
import * as views from "../../passes/fusion/views.ts"
import * as arrays from "../support/arrays.ts"

type Values = { readonly [variable: string]: number }

/** What an index expression means, without any of its laws. */
const meaning = (e: IndexExpr.IndexExpr, values: Values, sizes: Dim.Bindings): number =>
  e.terms.reduce(
    (sum, { atom, coefficient }) => {
      const inner = (of: IndexExpr.IndexExpr) => meaning(of, values, sizes)
      const own = (): number => {
        if (atom._tag === "variable" || atom._tag === "value") return values[atom.key] as number
        const by = Dim.evaluate(atom.by, sizes)
        const quotient = Math.floor(inner(atom.of) / by)
        return atom._tag === "div" ? quotient : inner(atom.of) - by * quotient
      }
      return sum + Dim.evaluate(coefficient, sizes) * own()
    },
    Dim.evaluate(e.constant, sizes)
  )

const bindings = { G: 3, H: 2, S: 4 }
const dims = [
  Dim.constant(2),
  Dim.constant(3),
  Dim.constant(6),
  Dim.symbol("G"),
  Dim.symbol("H"),
  Dim.mul(Dim.symbol("G"), Dim.symbol("H")),
  Dim.mul(Dim.symbol("S"), Dim.constant(2))
]

describe("the simplifier keeps the meaning", () => {
  test("of random sums, products, quotients and remainders", () => {
    for (let seed = 0; seed < 400; seed++) {
      const from = arrays.random(seed)
      const variables = ["x", "y", "z"].map((name) => ({ name, size: from.pick(dims) }))
      const values: Values = Object.fromEntries(
        variables.map((v) => [v.name, from.integer(0, Dim.evaluate(v.size, bindings) - 1)])
      )
      let e = IndexExpr.zero
      let expected = 0
      for (let step = 0; step < 8; step++) {
        const by = from.pick(dims)
        const n = Dim.evaluate(by, bindings)
        const v = from.pick(variables)
        switch (from.integer(0, 4)) {
          case 0:
          case 1:
            e = IndexExpr.add(e, IndexExpr.variable(v.name, v.size))
            expected += values[v.name] as number
            break
          case 2:
            e = IndexExpr.scale(e, by)
            expected *= n
            break
          case 3:
            e = IndexExpr.div(e, by)
            expected = Math.floor(expected / n)
            break
          case 4:
            e = IndexExpr.mod(e, by)
            expected -= n * Math.floor(expected / n)
        }
        expect(meaning(e, values, bindings), `seed ${seed}: ${e.key}`).toBe(expected)
        const [low, high] = [IndexExpr.least(e), IndexExpr.greatest(e)]
        if (low !== undefined) expect(Dim.evaluate(low, bindings), e.key).toBeLessThanOrEqual(expected)
        if (high !== undefined) expect(Dim.evaluate(high, bindings), e.key).toBeGreaterThanOrEqual(expected)
      }
    }
  })

  test("of reshapes there and back, where every axis is found again", () => {
    const shapes = [
      ["B", "H", "G", "S", 8],
      ["B", Dim.mul(Dim.symbol("H"), Dim.symbol("G")), "S", 8],
      [Dim.product([Dim.symbol("B"), Dim.symbol("H"), Dim.symbol("G")]), "S", 8],
      ["B", "H", Dim.mul(Dim.symbol("G"), Dim.symbol("S")), 8],
      ["B", "H", "G", Dim.mul(Dim.symbol("S"), Dim.constant(8))],
      ["B", 1, "H", "G", "S", 2, 4],
      [Dim.product(["B", "H", "G", "S"].map(Dim.symbol)), 8]
    ].map((dims) => Shape.from(dims as ReadonlyArray<Dim.DimLike>))
    for (const a of shapes) {
      for (const b of shapes) {
        const at = a.map((size, axis) => IndexExpr.variable(`x${axis}`, size))
        // Read a through b and back: each index is what it was.
        const through = views.reshaped(views.reshaped(at, b, a), a, b)
        expect(
          through.map((e) => e.key),
          `${Shape.print(a)} ${Shape.print(b)}`
        ).toEqual(at.map((e) => e.key))
      }
    }
  })
})

describe("what is known of an order of heads", () => {
  const h = IndexExpr.variable("h", Dim.mul(Dim.symbol("K"), Dim.symbol("G")))
  const [K, G] = [Dim.symbol("K"), Dim.symbol("G")]
  test("quotient and remainder make the number again", () => {
    const parts = IndexExpr.add(IndexExpr.scale(IndexExpr.div(h, G), G), IndexExpr.mod(h, G))
    expect(parts.key).toBe(h.key)
  })
  test("a quotient of a quotient is one", () => {
    const x = IndexExpr.variable("x", Dim.symbol("N"))
    expect(IndexExpr.div(IndexExpr.div(x, G), K).key).toBe(IndexExpr.div(x, Dim.mul(G, K)).key)
  })
  test("contiguous and interleaved orders are not the same", () => {
    expect(IndexExpr.div(h, G).key).not.toBe(IndexExpr.mod(h, K).key)
  })
  test("digits that skip or repeat are none", () => {
    const [a, b] = [IndexExpr.variable("a", K), IndexExpr.variable("b", G)]
    const size = Dim.mul(K, G)
    expect(IndexExpr.digits(IndexExpr.add(IndexExpr.scale(a, G), b), size)?.map((d) => d.name)).toEqual([
      "a",
      "b"
    ])
    expect(IndexExpr.digits(IndexExpr.add(a, b), size)).toBeUndefined()
    expect(IndexExpr.digits(IndexExpr.scale(a, G), size)).toBeUndefined()
    expect(IndexExpr.digits(IndexExpr.add(IndexExpr.scale(a, K), b), size)).toBeUndefined()
    expect(IndexExpr.digits(IndexExpr.add(a, IndexExpr.constant(1)), K)).toBeUndefined()
  })
})

describe("print", () => {
  const S = Dim.symbol("S")
  const k = IndexExpr.variable("k0", S)
  const q = IndexExpr.variable("q0", Dim.constant(12))
  test.each([
    [k, "k0"],
    [IndexExpr.zero, "0"],
    [IndexExpr.sub(k, IndexExpr.constant(1)), "k0 - 1"],
    [IndexExpr.sub(IndexExpr.dim(Dim.sub(S, Dim.one)), k), "S - 1 - k0"],
    [IndexExpr.sub(IndexExpr.zero, k), "-k0"],
    [
      IndexExpr.add(IndexExpr.scale(k, Dim.constant(2)), IndexExpr.mod(q, Dim.constant(5))),
      "(q0 mod 5) + 2*k0"
    ],
    [IndexExpr.scale(k, Dim.add(S, Dim.one)), "(S + 1)*k0"],
    [IndexExpr.value("%7[k0]"), "(a value)"]
  ])("%#", (e, text) => {
    expect(IndexExpr.print(e)).toBe(text)
  })
})
