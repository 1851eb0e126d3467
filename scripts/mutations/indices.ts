import { inFile, type Theme } from "./Mutation.ts"

/** Arithmetic on positions: what makes two of them one, or a digit of a head. */
export const indices: Theme = {
  name: "indices",
  tests: [
    "test/laws/indexExpr.test.ts",
    "test/unit/passes/nearMisses/views.test.ts",
    "test/unit/passes/nearMisses/masks.test.ts",
    "test/unit/passes/nearMisses/axes.test.ts",
    "test/unit/passes/unexpandHeads.test.ts",
    "test/unit/passes/fuseAttention.test.ts"
  ],
  mutations: inFile(
    "passes/fusion/IndexExpr.ts",
    ["digits start at 0", "if (e.constant.terms.length > 0) return undefined\n  const rest", "const rest"],
    ["digits count the whole axis", "return Dim.equals(stride, size) ? inner : undefined", "return inner"],
    ["each digit has the stride of those within", "Dim.equals(t.coefficient, stride)", "true"],
    [
      "what is within is below the end",
      "isAtLeast(e, Dim.zero) && isBelow(e, size)",
      "isAtLeast(e, Dim.zero)"
    ],
    ["what is within is not negative", "isAtLeast(e, Dim.zero) && isBelow(e, size)", "isBelow(e, size)"],
    ["a digit boundary has the rest within", "if (isWithin(inner, coefficient)) return {", "return {"],
    [
      "a polynomial with a falling term may be negative",
      "d.terms.every((t) => t.coefficient >= 0)",
      "d.terms.some((t) => t.coefficient >= 0)"
    ],
    [
      "a quotient and a remainder make a whole where their strides fit",
      "if (other === undefined || !Dim.equals(other.coefficient, Dim.mul(coefficient, atom.by))) continue",
      "if (other === undefined) continue"
    ],
    ["a coefficient of unknown sign bounds nothing", "if (sign === 0) return undefined", ""],
    [
      "a remainder of a remainder needs a multiple",
      'if (atom?._tag === "mod" && Dim.divideExact(atom.by, by) !== undefined) return mod(atom.of, by)',
      'if (atom?._tag === "mod") return mod(atom.of, by)'
    ],
    [
      "a quotient of a quotient divides by the product",
      "return add(quotient, div(atom.of, Dim.mul(atom.by, by)))",
      "return add(quotient, div(atom.of, by))"
    ],
    ["a quotient within its divisor is 0", "if (isWithin(rest, by)) return quotient", "return quotient"]
  )
}
