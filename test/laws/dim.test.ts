import { describe, expect, test } from "vitest"
import * as Dim from "../../ir/Dim.ts"
import { ShapeError } from "../../ir/errors.ts"
import * as arrays from "../support/arrays.ts"

const symbols = ["B", "H", "T", "S"] as const

const polynomial = (from: arrays.Random): Dim.Dim => {
  let sum = Dim.zero
  for (let terms = from.integer(0, 4); terms > 0; terms--) {
    let term = Dim.constant(from.integer(-4, 4))
    for (let degree = from.integer(0, 3); degree > 0; degree--)
      term = Dim.mul(term, Dim.symbol(from.pick(symbols)))
    sum = Dim.add(sum, term)
  }
  return sum
}

const bindings = (from: arrays.Random): Dim.Bindings =>
  Object.fromEntries(symbols.map((s) => [s, from.integer(0, 30)]))

/** Runs a law on seeded random polynomials. */
const forAll = (law: (from: arrays.Random) => void): void => {
  for (let seed = 0; seed < 300; seed++) law(arrays.random(seed))
}

const same = (a: Dim.Dim, b: Dim.Dim): void => expect(a.key).toBe(b.key)

describe("dims are a commutative ring", () => {
  const { add, mul, sub, zero, one } = Dim.Ring
  test("addition is associative and commutative, zero is its unit, sub its inverse", () =>
    forAll((from) => {
      const [a, b, c] = [polynomial(from), polynomial(from), polynomial(from)]
      same(add(add(a, b), c), add(a, add(b, c)))
      same(add(a, b), add(b, a))
      same(add(a, zero), a)
      same(sub(a, a), zero)
      same(add(sub(a, b), b), a)
      same(Dim.neg(a), sub(zero, a))
    }))
  test("multiplication is associative and commutative, one is its unit, zero absorbs", () =>
    forAll((from) => {
      const [a, b, c] = [polynomial(from), polynomial(from), polynomial(from)]
      same(mul(mul(a, b), c), mul(a, mul(b, c)))
      same(mul(a, b), mul(b, a))
      same(mul(a, one), a)
      same(mul(a, zero), zero)
    }))
  test("multiplication distributes over addition", () =>
    forAll((from) => {
      const [a, b, c] = [polynomial(from), polynomial(from), polynomial(from)]
      same(mul(a, add(b, c)), add(mul(a, b), mul(a, c)))
    }))
})

describe("the normal form", () => {
  test("evaluation is a homomorphism", () =>
    forAll((from) => {
      const [a, b, at] = [polynomial(from), polynomial(from), bindings(from)]
      expect(Dim.evaluate(Dim.add(a, b), at)).toBe(Dim.evaluate(a, at) + Dim.evaluate(b, at))
      // + 0: a product with a negative zero is zero.
      expect(Dim.evaluate(Dim.mul(a, b), at)).toBe(Dim.evaluate(a, at) * Dim.evaluate(b, at) + 0)
    }))
  test("two dims are equal exactly when they evaluate equally", () =>
    forAll((from) => {
      const [a, b] = [polynomial(from), polynomial(from)]
      // A polynomial of degree 3 that is 0 on every point of a 4-point grid is 0.
      const grid = [0, 1, 2, 3]
      const everywhere = grid.every((B) =>
        grid.every((H) =>
          grid.every((T) =>
            grid.every((S) => Dim.evaluate(a, { B, H, T, S }) === Dim.evaluate(b, { B, H, T, S }))
          )
        )
      )
      expect(Dim.equals(a, b)).toBe(everywhere)
    }))
  test("parse reads what print writes", () =>
    forAll((from) => {
      const a = polynomial(from)
      expect(Dim.parse(Dim.print(a))).toEqual(a)
    }))
  test("no two spellings of one polynomial", () => {
    const spellings = [
      "B*H + 2*T + 1",
      "1 + 2*T + H*B",
      "T + T + B*H + 3 - 2",
      "2*T + 1*B*H + 1",
      "H*B*1 + 1 + T*2"
    ]
    expect(new Set(spellings.map((text) => Dim.parse(text)?.key))).toEqual(new Set(["B*H + 2*T + 1"]))
  })
  test("a positive term leads", () => {
    expect(Dim.parse("-T + S")?.key).toBe("S - T")
    expect(Dim.parse("-T - S")?.key).toBe("-S - T")
  })
})

describe("division, substitution, comparison", () => {
  test("an exact quotient is the factor", () =>
    forAll((from) => {
      const [a, b] = [polynomial(from), polynomial(from)]
      const quotient = Dim.divideExact(Dim.mul(a, b), b)
      if (b.terms.length > 0) same(quotient as Dim.Dim, a)
      else expect(quotient).toBeUndefined()
    }))
  test("a quotient times the divisor is the dividend", () =>
    forAll((from) => {
      const [a, b] = [polynomial(from), polynomial(from)]
      const quotient = Dim.divideExact(a, b)
      if (quotient !== undefined) same(Dim.mul(quotient, b), a)
    }))
  test("substituting and evaluating is evaluating with the substituted values", () =>
    forAll((from) => {
      const [a, t, at] = [polynomial(from), polynomial(from), bindings(from)]
      const inner = { ...at, T: Dim.evaluate(t, at) }
      expect(Dim.evaluate(Dim.substitute(a, { T: t }), at)).toBe(Dim.evaluate(a, inner))
    }))
  test("sizes that cannot be equal are never equal", () =>
    forAll((from) => {
      const [a, b] = [polynomial(from), polynomial(from)]
      if (Dim.canEqual(a, b)) return
      for (let i = 0; i < 20; i++) {
        const at = bindings(from)
        expect(Dim.evaluate(a, at)).not.toBe(Dim.evaluate(b, at))
      }
    }))
  test("sizes that meet somewhere can be equal", () =>
    forAll((from) => {
      const [a, b, at] = [polynomial(from), polynomial(from), bindings(from)]
      if (Dim.evaluate(a, at) === Dim.evaluate(b, at)) expect(Dim.canEqual(a, b)).toBe(true)
    }))
})

describe("what is refused", () => {
  test.each([
    "",
    "T +",
    "2 T",
    "T T",
    "+T",
    "T**2",
    "1.5",
    "(T)",
    "T-",
    "é",
    "9007199254740992",
    "T + + S",
    "x".repeat(65)
  ])("%j is not a dim", (text) => expect(Dim.parse(text)).toBeUndefined())
  test("names that are not symbols", () => {
    for (const name of ["", "1T", "T S", "T;", "a-b", "x".repeat(65)])
      expect(() => Dim.symbol(name)).toThrow(RangeError)
  })
  test("arithmetic that is not exact, and growth without bound", () => {
    const big = Dim.constant(Number.MAX_SAFE_INTEGER)
    expect(() => Dim.add(big, Dim.one)).toThrow(ShapeError)
    expect(() => Dim.mul(big, Dim.constant(2))).toThrow(ShapeError)
    const T = Dim.symbol("T")
    expect(() => Dim.product(Array.from({ length: 65 }, () => T))).toThrow(ShapeError)
    const many = Array.from({ length: 17 }, (_, i) => Dim.symbol(`s${i}`)).reduce(Dim.add)
    expect(() => Dim.mul(Dim.mul(many, many), many)).toThrow(ShapeError)
  })
  test("a symbol without a value, whatever its name", () => {
    for (const name of ["T", "constructor", "__proto__", "toString"]) {
      expect(() => Dim.evaluate(Dim.symbol(name), {})).toThrow(`the symbol ${name} is not bound`)
    }
  })
})
