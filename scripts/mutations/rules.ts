import { inFile, type Theme } from "./Mutation.ts"

/** Rules of softmax, of division and of masks, of views, and what they ask of rows. */
export const rules: Theme = {
  name: "rules",
  tests: [
    "test/unit/passes/nearMisses/rows.test.ts",
    "test/unit/passes/nearMisses/views.test.ts",
    "test/unit/passes/nearMisses/sums.test.ts",
    "test/unit/passes/nearMisses/masks.test.ts",
    "test/unit/passes/meaning.test.ts",
    "test/unit/passes/spellings.test.ts",
    "test/laws/rules.test.ts",
    "test/laws/rulesOnSpecials.test.ts",
    "test/filetests",
    "test/unit/passes/refusals.test.ts"
  ],
  mutations: [
    ...inFile(
      "passes/rules/softmax.ts",
      [
        "the sum is over one axis",
        'p.node.op !== "reduce_sum" || p.node.attrs.axes.length !== 1',
        'p.node.op !== "reduce_sum"'
      ],
      [
        "the sum is of the weights it divides",
        "!sameValue(p.node.operands[0] as Node.Node, weight) || !rows.sameAt(p.at, rows.withoutAxis(at, axis))",
        "!rows.sameAt(p.at, rows.withoutAxis(at, axis))"
      ],
      [
        "the sum is of the row it divides",
        "!sameValue(p.node.operands[0] as Node.Node, weight) || !rows.sameAt(p.at, rows.withoutAxis(at, axis))",
        "!sameValue(p.node.operands[0] as Node.Node, weight)"
      ],
      [
        "a least value of the sum needs sums of 1 or more",
        'guard === "least" && !sumsToOneOrMore(weight, axis)',
        'guard === "never"'
      ],
      [
        "one guard on the sum",
        'if (guard !== "none") return undefined\n    guard = inner.guard',
        "guard = inner.guard"
      ],
      [
        "the least value of a sum is at most 1",
        'node.op === "max" && (uniform(b) ?? 2) <= 1',
        'node.op === "max" && uniform(b) !== undefined'
      ],
      ["the sum that is guarded is the one that is compared", "a.operands[0] === c &&", ""],
      [
        "the sum is guarded where it is 0",
        'a?.op === "eq" &&\n    c !== undefined',
        "a !== undefined &&\n    c !== undefined"
      ],
      [
        "an empty row has all of its own scores -inf",
        'node.op === "reduce_min" && node.attrs.axes.join() ===',
        'node.op === "reduce_min" && node.attrs.axes !=='
      ],
      [
        "a row with a key has some of its own scores not -inf",
        'if (reduces && node.op === "reduce_max" && node.attrs.axes.join() ===',
        'if (reduces && node.op === "reduce_max" && node.attrs.axes !=='
      ],
      [
        "the greatest score of empty rows is along the softmax's axis",
        "max.node.attrs.axes.join() ===",
        "max.node.attrs.axes !=="
      ],
      ["the guard compares with 0", "uniform(a.operands[1] as Node.Node) === 0", "true"],
      [
        "a guarded row keeps shifts that may be -inf",
        'guard === "none" ? undefined : (by: Node.Node, x: Node.Node) => isRowMax(by, x, axis)',
        "undefined"
      ],
      [
        "a shift is constant along the row",
        "isShift(by, x) && rows.isConstantAlong(by, y, axis) && mayDrop(by, x)",
        "isShift(by, x) && mayDrop(by, x)"
      ],
      ["a shift stretches no scores", "same(x) && isShift", "isShift"],
      [
        "what is added is a shift where it was taken away",
        '(y.op === "sub" && (isRowMax(by, x, axis) ||',
        "((isRowMax(by, x, axis) ||"
      ],
      [
        "what is taken from rows of one key is a shift where it is their maximum",
        "!Dim.isOne(y.type.shape[axis] as Dim.Dim)",
        "true"
      ],
      [
        "a shift behind a fill needs a fill of -inf",
        "(uniform(b) === -Infinity || uniform(c) === -Infinity)",
        "(uniform(b) !== undefined || uniform(c) !== undefined)"
      ],
      [
        "scores that were rounded after their shift stay wide",
        "if (inner === a) return y\n    return isWidening(inner.type.dtype, y.type.dtype) ? converted(build, inner, y.type.dtype) : inner",
        "return inner === a ? y : converted(build, inner, y.type.dtype)"
      ],
      [
        "weights put to a number are put to 0",
        "return uniform(other) === 0 ? only(a, kept, kept === b) : undefined",
        "return only(a, kept, kept === b)"
      ],
      [
        "a factor on exponentials is 0 or 1",
        "return isIndicator(mask) ? only(mask.operands[0] as Node.Node, kept, true) : undefined",
        "return only(mask.operands[0] as Node.Node, kept, true)"
      ],
      [
        "an indicator is made from a truth value",
        'node.op === "cast" && node.operands[0]?.type.dtype === "bool"',
        'node.op === "cast"'
      ],
      [
        "base 2 takes the logarithm of 2",
        'build("mul", [x, scalar(build, Math.LN2, x.type.dtype)], {})',
        "x"
      ],
      [
        "scores in base 2 were brought there by the logarithm of 2",
        "Math.abs(base * Math.LN2 - 1) < 2 ** -23",
        "true"
      ],
      ["the greatest score is of these scores", "sameValue(node.operands[0] as Node.Node, scores) &&", ""],
      [
        "the greatest score is along the softmax's axis",
        "return (\n        node.attrs.axes.join() ===",
        "return (\n        node.attrs.axes !=="
      ],
      [
        "the greatest score is of the same row",
        "rows.sameAt(p, rows.withoutAxis(at, axis))\n      )",
        "true\n      )"
      ],
      ["what is tested for infinity is the maximum", "x === c &&", ""],
      ["the maximum is replaced where it is infinite", "return infinite && x === c", "return x === c"],
      [
        "weights kept by a condition are of scores that keep it too",
        '(x.op === "select" && x.operands[0] === keep && uniform(x.operands[2] as Node.Node) === -Infinity)',
        "true"
      ],
      [
        "exponents of 1 or more are shifted by their maximum",
        "x === undefined || m === undefined || !isRowMax(m, x, axis)",
        "x === undefined || m === undefined"
      ],
      [
        "an empty row is one of these scores, all of them -inf",
        'return a.op === "eq" && overScores(a) ? true : undefined',
        "return true"
      ],
      [
        "a row with a key is one of these scores, some not -inf",
        'return (a.op === "ne" || a.op === "gt") && overScores(a) ? false : undefined',
        "return false"
      ],
      [
        "a condition on empty rows is of the same rows",
        '(node.op === "reduce_min" || node.op === "reduce_max") && rows.sameAt(p, row)',
        '(node.op === "reduce_min" || node.op === "reduce_max")'
      ],
      [
        "the greatest score of a row is compared with -inf",
        'node.op !== "gt") || !isMinusInfinity(b)',
        'node.op !== "gt")'
      ],
      [
        "the greatest score of empty rows is of the same rows",
        "sameValue(max.node.operands[0] as Node.Node, scores) &&\n      rows.sameAt(max.at, row)",
        "sameValue(max.node.operands[0] as Node.Node, scores)"
      ],
      ["a condition that is negated says the opposite", "inner === undefined ? undefined : !inner", "inner"],
      [
        "a log-sum-exp is of the scores it is taken from",
        "sameValue(p.node.operands[0] as Node.Node, of) &&\n    rows.sameAt(p.at, rows.withoutAxis(at, p.node.attrs.axis))",
        "rows.sameAt(p.at, rows.withoutAxis(at, p.node.attrs.axis))"
      ],
      [
        "a log-sum-exp is of the row it is taken from",
        "sameValue(p.node.operands[0] as Node.Node, of) &&\n    rows.sameAt(p.at, rows.withoutAxis(at, p.node.attrs.axis))",
        "sameValue(p.node.operands[0] as Node.Node, of)"
      ],
      [
        "a shift is added back to the log-sum-exp of what it was taken from",
        "|| !sameValue(from, scores)",
        ""
      ],
      [
        "a log-sum-exp that a shift is added to is of the same row",
        "if (!isLogSum(sum, shifted) ||",
        'if (sum.node.op !== "logsumexp" ||'
      ],
      [
        "a shift that is added back is one of rows",
        "if (!rows.isConstantAlong(by, scores, sum.node.attrs.axis)) continue",
        ""
      ],
      [
        "what is added back is the shift",
        "if (m.node === shift.node && rows.sameAt(m.at, shift.at)) return",
        "return"
      ],
      [
        "a logarithm is of a sum over one axis",
        'when: (m) => m.as("sum", "reduce_sum").attrs.axes.length === 1,',
        ""
      ],
      [
        "softmax is blind to its own maximum alone",
        'when: (m) => isRowMax(m.get("s"), m.get("y"), m.as("softmax", "softmax").attrs.axis),',
        ""
      ],
      [
        "rows put to 0 are the empty ones",
        'when: (m) => emptyRow(m.get("c"), m.get("x"), m.as("p", "softmax").attrs.axis) === true,',
        ""
      ],
      [
        "rows that are kept are those with keys",
        'when: (m) => emptyRow(m.get("c"), m.get("x"), m.as("p", "softmax").attrs.axis) === false,',
        ""
      ]
    ),
    ...inFile(
      "passes/rules/division.ts",
      ["one read of the exponentials reaches the values", "|| leaves.length > 1) continue", ") continue"],
      [
        "the exponentials reach the values by factors",
        "if (Result.isFailure(coefficient(walk.table, weights, leaf))) continue",
        ""
      ],
      ["the sum is of the row of the value", "if (!rows.sameAt(rest, found.at)) continue", ""],
      [
        "a sum with one more is of the weights",
        "bare(row.operands[0] as Node.Node) === bare(weight)",
        "true"
      ],
      ["a sum with one more is over the last axis", "row.attrs.axes.join() ===", "row.attrs.axes !=="],
      [
        "a sum with one more is a sum",
        'row?.op === "reduce_sum" &&',
        '(row?.op === "reduce_sum" || row?.op === "reduce_max") &&'
      ],
      ["one more in a sum is above 0 and finite", "value > 0 && value < Infinity", "value > -Infinity"],
      ["one more in a sum is an exponential", 'if (extra.op !== "exp") return undefined', ""],
      [
        "one more in a sum has the shift of the others, negated",
        'u.op === "neg" && u.operands[0] === shift',
        'u.op === "neg"'
      ],
      [
        "one more in a sum has the shift of the others",
        'u.op === "sub" && u.operands[1] === shift',
        'u.op === "sub"'
      ],
      [
        "scores without their shift are those of every row",
        "from !== undefined && Shape.equals(from.type.shape, y.type.shape) ? from : undefined",
        "from"
      ],
      ["one more in a sum is one of each row", "|| !keepsRows(total)", ""]
    ),
    ...inFile(
      "passes/fusion/rows.ts",
      [
        "what is constant along a row does not depend on the key behind steps",
        'if ((family !== "elementwise" && family !== "compare") || next.depth >= deepest) return false',
        "if (next.depth >= deepest) return false"
      ],
      [
        "what is constant along a row does not depend on the key",
        "if (!p.some((e) => IndexExpr.variables(e).has(name))) continue",
        "continue"
      ],
      [
        "values stretch over axes of their size or 1",
        "own.every((d, i) => Dim.isOne(d) || Dim.equals(d, all[all.length - own.length + i] as Dim.Dim))",
        "true"
      ]
    ),
    ...inFile(
      "passes/rules/mask.ts",
      [
        "(1 - c) · f needs a truth value c",
        'match: ({ c }) => mul(sub(number(1), cast(c)), constant("f")),\n    when: (m) => isTruth(m.get("c")),',
        'match: ({ c }) => mul(sub(number(1), cast(c)), constant("f")),'
      ],
      [
        "c · f needs a truth value c",
        'match: ({ c }) => mul(cast(c), constant("f")),\n    when: (m) => isTruth(m.get("c")),',
        'match: ({ c }) => mul(cast(c), constant("f")),'
      ],
      [
        "(c - 1) · f needs a truth value c",
        'match: ({ c }) => mul(sub(cast(c), number(1)), constant("f")),\n    when: (m) => isTruth(m.get("c")),',
        'match: ({ c }) => mul(sub(cast(c), number(1)), constant("f")),'
      ],
      ["masks in a row have one fill", 'when: (m) => m.number("f") === m.number("g"),', ""],
      [
        "a mask in front has the fill -inf",
        'when: (m) => minusInfinity(m.get("f")) && minusInfinity(m.get("g")),',
        ""
      ],
      [
        "a finite fill is added to the score",
        'minusInfinity(f) ? m.constant(-Infinity) : m.build("add", [m.get("x"), f], {})',
        "f"
      ],
      [
        "a mask that is subtracted is negated",
        'm.constant(Scalar.wrap[m.get("root").type.dtype](-m.number(f)))',
        "m.constant(m.number(f))"
      ]
    ),
    ...inFile(
      "passes/rules/movement.ts",
      [
        "a transpose that does nothing keeps the order",
        'when: (m) => m.as("outer", "transpose").attrs.perm.every((axis, i) => axis === i),',
        ""
      ],
      [
        "a transpose of ones moves axes of size 1 alone",
        "return movesNothing(outer) && !outer",
        "return !outer"
      ],
      [
        "two permutations compose inside out",
        "outer.attrs.perm.map((i) => inner.attrs.perm[i] as number)",
        "inner.attrs.perm.map((i) => outer.attrs.perm[i] as number)"
      ],
      [
        "reshapes are one where the sizes are proven",
        'when: (m) => Dim.equals(Shape.size(m.get("x").type.shape), Shape.size(m.get("root").type.shape)),',
        ""
      ],
      [
        "slices that become one have steps of 1",
        '[...m.as("outer", "slice").attrs.steps, ...m.as("inner", "slice").attrs.steps].every((s) => s === 1)',
        "true"
      ],
      ["slices that become one start where the first does", "Dim.add(d, inner.starts[i] as Dim.Dim)", "d"]
    )
  ]
}
