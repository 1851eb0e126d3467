import { inFile, type Theme } from "./Mutation.ts"

/** The interval analysis of masks: what bounds the keys that a kernel visits, and those it does not test. */
export const masks: Theme = {
  name: "masks",
  tests: [
    "test/laws/maskRanges.test.ts",
    "test/unit/passes/analyseMask.test.ts",
    "test/unit/passes/analyseMaskData.test.ts",
    "test/unit/passes/nearMisses/masks.test.ts"
  ],
  mutations: [
    ...inFile(
      "passes/mask/compare.ts",
      [
        "a maximum above and one below differ",
        "return coefficient > 0 ? Keys.and(left, right) : Keys.or(left, right, scope.keys)",
        "return Keys.and(left, right)"
      ],
      [
        "a choice takes its other side where its condition fails",
        "Keys.and(no, at(atom.otherwise))",
        "Keys.and(yes, at(atom.otherwise))"
      ],
      ["a quotient is cleared of its divisor", "Linear.constant(1 - atom.by)", "Linear.constant(0)"],
      ["keys from a position on are rounded up", "Linear.plus(rest, Linear.constant(step - 1))", "rest"],
      [
        "every key that is certain is one of all rows",
        "{ some: { hi: most }, every: { hi: least } }",
        "{ some: { hi: most }, every: { hi: most } }"
      ],
      [
        "some key that is possible is one of any row",
        "{ some: { lo: least }, every: { lo: most } }",
        "{ some: { lo: most }, every: { lo: most } }"
      ],
      [
        "a comparison of rows alone is that of the least",
        "some: Keys.when(A.le(bounds.least, A.int(0)), scope.keys)",
        "some: Keys.when(A.le(bounds.most, A.int(0)), scope.keys)"
      ],
      [
        "a comparison of rows alone is certain for the most",
        "every: Keys.when(A.le(bounds.most, A.int(0)), scope.keys)",
        "every: Keys.when(A.le(bounds.least, A.int(0)), scope.keys)"
      ]
    ),
    ...inFile(
      "passes/mask/bounds.ts",
      [
        "a falling term is least where its atom is most",
        "least.push(coefficient > 0 ? low : high)",
        "least.push(low)"
      ],
      [
        "data is brought near zero",
        "const near = p.data && !alone ? nearZero(p.node, limit) : p.node",
        "const near = p.node"
      ],
      [
        "remainders are close where a block passes no multiple",
        "const same = A.eq(multiple, A.floorDiv(of.most, by))",
        "const same = true"
      ],
      [
        "remainders by a size are close where a block passes no multiple",
        "const same = A.both(A.eq(low, high), A.lt(A.int(0), by))",
        "const same = A.lt(A.int(0), by)"
      ],
      [
        "a choice is as small as its least side",
        "least: A.min(then.least, otherwise.least)",
        "least: then.least"
      ]
    ),
    ...inFile(
      "passes/mask/Keys.ts",
      ["an empty range has no place of its own, before", "A.select(x.some, x.lo, keys)", "x.lo"],
      ["an empty range has no place of its own, behind", "A.select(y.some, y.hi, zero)", "y.hi"],
      [
        "two ranges are one where they touch",
        "const touch = A.both(A.both(x.some, y.some), A.le(A.max(x.lo, y.lo), A.min(x.hi, y.hi)))",
        "const touch = A.both(x.some, y.some)"
      ],
      [
        "of two ranges apart the longer is certain",
        "const first = A.le(A.sub(y.hi, y.lo), A.sub(x.hi, x.lo))",
        "const first = true"
      ],
      [
        "what holds under a condition is nothing where it fails",
        "A.select(condition, every.hi ?? keys, zero)",
        "every.hi ?? keys"
      ],
      [
        "ranges start at the first key",
        "const lo = r.lo === undefined ? zero : A.clamp(r.lo, zero, keys)",
        "const lo = r.lo === undefined ? zero : r.lo"
      ]
    ),
    ...inFile(
      "passes/mask/visibleKeys.ts",
      ["not exchanges yes and no", "return { yes: get(x).no, no: get(x).yes }", "return get(x)"],
      [
        "one of two fails where either fails",
        "no: or(get(x).no, get(y).no) }",
        "no: Keys.and(get(x).no, get(y).no) }"
      ],
      [
        "or unites",
        "return { yes: or(get(x).yes, get(y).yes),",
        "return { yes: Keys.and(get(x).yes, get(y).yes),"
      ],
      [
        "a select takes its other side where its condition fails",
        "or(Keys.and(get(x).yes, get(y)[side]), Keys.and(get(x).no, get(z)[side]))",
        "Keys.and(get(x).yes, get(y)[side])"
      ],
      ["sums of data may wrap", "Keys.provided(exact, atMostZero(", "Keys.provided(true, atMostZero("],
      [
        "less is not at most",
        "[below(difference, 1), below(opposite, 1)]",
        "[below(difference, 0), below(opposite, 0)]"
      ],
      [
        "comparisons of floats are not known",
        'if (x.type.dtype !== "i32") return { yes: Keys.unknown, no: Keys.unknown }',
        ""
      ]
    ),
    ...inFile(
      "passes/mask/Region.ts",
      [
        "what i and j leave alone is computed as it is written",
        "if (!varies) return Linear.one(",
        "if (false) return Linear.one("
      ],
      ["a divisor is positive", "|| by < 1 ||", "||"]
    )
  ]
}
