import { inFile, type Theme } from "./Mutation.ts"

/** What recognition asks before it calls something attention, and what it keeps of what was written. */
export const fusion: Theme = {
  name: "fusion",
  tests: [
    "test/unit/passes/nearMisses",
    "test/unit/passes/refusals.test.ts",
    "test/unit/passes/family.test.ts",
    "test/unit/passes/fuseAttention.test.ts",
    "test/unit/passes/meaning.test.ts",
    "test/unit/passes/spellings.test.ts",
    "test/unit/passes/unexpandHeads.test.ts",
    "test/filetests"
  ],
  mutations: [
    ...inFile(
      "passes/fusion/normalised.ts",
      [
        "the softmax counts the keys that are summed",
        "counted === undefined || counted.some((d) => !v.key.includes(d.name))",
        "counted === undefined"
      ],
      ["few columns have no values", "before + behind > mostSinks", "before + behind > 100"],
      ["no more values than columns", "behind < 0 ||", ""]
    ),
    ...inFile(
      "passes/fusion/terms.ts",
      ["one side of a contraction has keys, the other none", "if (!single && left === right) continue", ""],
      ["logits are floats", "if (!DType.isFloat(contraction.type.dtype)) {", "if (false) {"]
    ),
    ...inFile(
      "passes/fusion/fuse.ts",
      ["weights and sinks know no score", "if (knows !== undefined) return", "if (false) return"],
      [
        "sinks know no score",
        "[...(found.softmax === undefined ? [] : [found.weight]), ...found.sinks]",
        "[...(found.softmax === undefined ? [] : [found.weight])]"
      ],
      [
        "nothing that is captured is computed from the scores",
        "if (circular !== undefined) {",
        "if (false) {"
      ],
      ["head sizes are those that kernels take", "if (unfit !== undefined) return", "if (false) return"]
    ),
    ...inFile(
      "passes/fusion/roles.ts",
      [
        "some queries share their keys and values",
        "if (free.length === 0 && digits(query).length > 0) return undefined",
        ""
      ],
      [
        "heads of a group follow each other",
        '...spread([...r.head, ...r.group], "h")',
        '...spread([...r.group, ...r.head], "h")'
      ]
    ),
    ...inFile(
      "passes/fusion/build.ts",
      [
        "a finite fill is kept",
        "return { value: filled.score, mask, fill: filled.fill }",
        "return { value: filled.score, mask, fill: -Infinity }"
      ],
      [
        "a fill by a condition on scores is a score",
        "|| touchesLogit.has(a))\n    return undefined",
        ")\n    return undefined"
      ],
      [
        "a fill is no infinity and no NaN",
        'e._tag === "constant" && e.value < Infinity',
        'e._tag === "constant"'
      ],
      [
        "what is dropped is not kept",
        'filled.negated ? table.apply("not", [filled.mask], "bool") : filled.mask',
        "filled.mask"
      ],
      ["a divisor of queries, keys or values divides", 'exponent === 1 ? "mul" : "div"', '"mul"'],
      [
        "factors of queries and keys are kept",
        "return scaled(walk, e, [...q.factors, ...k.factors])",
        "return scaled(walk, e, [...q.factors])"
      ],
      [
        "statistics of rows are of all rows, each once",
        "if (groups.some((g) => g === undefined) || read.sort().join() !== all.join()) return undefined",
        "if (groups.some((g) => g === undefined)) return undefined"
      ],
      [
        "sinks are added as exponentials",
        'const alone = table.apply("is_inf", [low], "bool")',
        'const alone = table.constant(1, "bool")'
      ],
      [
        "two sinks of -inf have no difference",
        'const alone = table.apply("is_inf", [low], "bool")',
        'const alone = table.constant(0, "bool")'
      ]
    ),
    ...inFile("passes/fusion/region.ts", [
      "data that was rounded stays rounded",
      "!onLogit.has(e)\n        const x",
      "false\n        const x"
    ]),
    ...inFile(
      "passes/fusion/linear.ts",
      [
        "weights are not multiplied by themselves",
        'if (x !== undefined && y !== undefined) return Result.fail("the weights are multiplied by themselves")',
        ""
      ],
      [
        "weights are no divisor",
        "return x === undefined || y !== undefined\n        ? nonlinear",
        "return x === undefined\n        ? nonlinear"
      ],
      [
        "weights do not choose, but as a guard against their own NaN",
        'return guard && z !== undefined ? z : Result.fail("the weights choose between values")',
        "if (z !== undefined) return z"
      ],
      [
        "what is guarded against NaN is the weights alone",
        "[...guarded.success.values()].every((w) => Element.constantOf(w) === 1)",
        "true"
      ],
      [
        "a guard on the weights is one against NaN",
        'a._tag === "apply" && a.op === "is_nan" ?',
        'a._tag === "apply" ?'
      ],
      [
        "no position depends on the weights",
        'Result.fail("a position depends on the weights")',
        "Result.succeed(new Map())"
      ],
      ["weights are replaced by 0 alone", "if (absent[0] || absent[1]) return", "if (false) return"],
      [
        "nothing is added to weights",
        'return x === undefined || y === undefined\n        ? Result.fail("a term is added to the weights")\n        : both(table, x, y,',
        "return both(table, x ?? Result.succeed(new Map()), y ?? Result.succeed(new Map()),"
      ],
      [
        "weights are cast to floats",
        "DType.isFloat(dtype) && DType.isFloat(a.dtype) ? (x ?? nonlinear) : nonlinear",
        "x ?? nonlinear"
      ],
      [
        "differences of weights are differences",
        "(v, w) => table.apply(op, [v, w], v.dtype))",
        '(v, w) => table.apply("add", [v, w], v.dtype))'
      ]
    ),
    ...inFile(
      "passes/fusion/visible.ts",
      ["a mask knows positions only", "if (dependsOnLogit.has(condition)) return whole(e)", ""],
      [
        "a negated score is visible where its negative is not infinite",
        'case "neg":\n        return {\n          visible: of(a, flipped(sign)).visible,',
        'case "neg":\n        return {\n          visible: of(a, sign).visible,'
      ],
      [
        "a negative factor turns the infinity",
        "(Element.constantOf(x) ?? 1) < 0 ? flipped(sign) : sign",
        "sign"
      ],
      [
        "the greatest of a score and -inf is the score",
        '(e.op === "max") === sign > 0',
        '(e.op === "min") === sign > 0'
      ],
      [
        "a logarithm of a score is no mask",
        "if (sign > 0 || a === undefined || dependsOnLogit.has(a)) return whole(e)",
        "if (sign > 0 || a === undefined) return whole(e)"
      ],
      [
        "a rounded score is no mask",
        "DType.maxFinite[a.dtype] && !dependsOnLogit.has(a))",
        "DType.maxFinite[a.dtype])"
      ],
      [
        "contractions make numbers",
        'sign < 0 && e.of.op !== "dot" ? measured(e, sign)',
        "sign < 0 ? measured(e, sign)"
      ],
      [
        "a tensor that scales scores is no mask",
        'e?._tag === "load" && (other === undefined',
        'e?._tag === "index" && (other === undefined'
      ],
      [
        "a fill of +inf is no mask",
        "return e.value === sign * Infinity ?",
        "return Math.abs(e.value) === Infinity ?"
      ],
      ["what is dropped is not kept", "? or(not(condition), then.visible)", "? or(condition, then.visible)"],
      [
        "a function of -inf is what it is there",
        "return whole(choose(inner.visible, table.apply(e.op, [inner.value], e.dtype), limit))",
        "return { visible: inner.visible, value: table.apply(e.op, [inner.value], e.dtype) }"
      ]
    ),
    ...inFile(
      "passes/fusion/Basis.ts",
      [
        "each digit counts one axis",
        "found === undefined || found.some((d) => used.has(d.name))",
        "found === undefined"
      ],
      ["a factor of an operand is one number", "if (isScalar(b) && same(a))", "if (same(a))"],
      [
        "a factor in front of an operand is one number",
        'node.op === "mul" && isScalar(a) && same(b)',
        'node.op === "mul" && same(b)'
      ],
      [
        "casts of operands lose nothing",
        'if (node.op === "cast" && widening.has(',
        'if (node.op === "cast" || widening.has('
      ],
      ["a factor that divides has the exponent -1", 'exponent: node.op === "mul" ? 1 : -1', "exponent: 1"]
    ),
    ...inFile(
      "passes/fusion/views.ts",
      [
        "a list that is fitted by quotients is so at every position",
        "if (starts.every((s, i) => s === (starts[0] as number) + step * Math.floor(i / g))) {",
        "{"
      ],
      [
        "a list that is fitted by remainders is so at every position",
        "if (g > 1 && starts.every((s, i) => s === (starts[0] as number) + inner * (i % g))) {",
        "if (g > 1) {"
      ],
      [
        "pieces of a concat are equally long",
        "if (node.operands.some((o) => !Dim.equals(o.type.shape[axis] as Dim.Dim, length))) return undefined",
        ""
      ],
      [
        "a repeated concat is of one tensor",
        "if (node.operands.every((o) => o === first)) return",
        "if (node.operands.every((o) => o.op === first.op)) return"
      ],
      [
        "slices of a concat are of one tensor",
        'if (o.op !== "slice" || o.operands[0] !== base ||',
        'if (o.op !== "slice" ||'
      ],
      [
        "slices of a concat have steps of 1",
        "|| o.attrs.steps.some((s) => s !== 1)) return undefined",
        ") return undefined"
      ],
      [
        "slices of a concat start together on other axes",
        "if (!others || start === undefined) return undefined",
        "if (start === undefined) return undefined"
      ],
      [
        "a position in a part is below its end",
        "IndexExpr.isAtLeast(x, start) && IndexExpr.isBelow(x, end)",
        "IndexExpr.isAtLeast(x, start)"
      ],
      [
        "a position in a part is not below its start",
        "IndexExpr.isAtLeast(x, start) && IndexExpr.isBelow(x, end)",
        "IndexExpr.isBelow(x, end)"
      ],
      [
        "a position in what was padded is within it",
        "return own.every((e, i) => IndexExpr.isWithin(e, x.type.shape[i] as Dim.Dim))\n        ?",
        "return own.length > 0\n        ?"
      ],
      [
        "a slice starts where it starts",
        "IndexExpr.dim(node.attrs.starts[i] as Dim.Dim)\n",
        "IndexExpr.zero\n"
      ],
      ["a slice goes in its steps", "Dim.constant(node.attrs.steps[i] as number)", "Dim.one"]
    ),
    ...inFile(
      "passes/fusion/Walk.ts",
      [
        "a constant of one value has it everywhere",
        "const uniform = first !== undefined && node.attrs.values.every((v) => Object.is(v, first))",
        "const uniform = first !== undefined"
      ],
      [
        "positions of a gather are clamped",
        'if (signed._tag === "index" && IndexExpr.isWithin(signed.expr, size)) return signed.expr',
        'if (signed._tag === "index") return signed.expr'
      ],
      [
        "positions of a gather that is a view are within",
        'if (signed._tag !== "index" || !IndexExpr.isWithin(signed.expr, x.type.shape[axis] as Dim.Dim))',
        'if (signed._tag !== "index")'
      ],
      [
        "padding is seen",
        'return { element: table.apply("select", [inside, e as Element.Element, filling], node.type.dtype) }',
        "return { element: e as Element.Element }"
      ],
      ["a padded position is below the end", 'table.apply("and", [from, below], "bool")', "from"]
    ),
    ...inFile(
      "passes/fusion/Element.ts",
      [
        "integers that may wrap are no index",
        "return within(e.constant, 2 ** 30) && e.terms.every((term) => within(term.coefficient, 2 ** 16))",
        "return e.terms.length >= 0"
      ],
      [
        "a comparison of indices is decided where it is certain",
        'if (IndexExpr.isAtLeast(difference, limit)) return t.constant(1, "bool")',
        'if (IndexExpr.greatest(difference) !== undefined) return t.constant(1, "bool")'
      ],
      [
        "a least index is one of two where it is certain",
        "return IndexExpr.isAtLeast(IndexExpr.sub(b.expr, a.expr), IndexExpr.zero.constant) ? a : undefined",
        "return a"
      ],
      [
        "a greatest index is one of two where it is certain",
        "return IndexExpr.isAtLeast(IndexExpr.sub(a.expr, b.expr), IndexExpr.zero.constant) ? a : undefined",
        "return a"
      ],
      [
        "a select of an unknown condition chooses",
        "if (b === c || isConstant(a, 1)) return b",
        'if (b === c || isConstant(a, 1) || a._tag === "load") return b'
      ],
      [
        "and keeps what is false",
        "return isConstant(a, 0) || isConstant(b, 1) || a === b\n      ? a",
        "return isConstant(a, 1) || isConstant(b, 0) || a === b\n      ? a"
      ],
      [
        "a fill is rounded by a cast",
        'a._tag === "apply" && a.op === "select" && a.args.some((x) => x._tag === "constant")',
        'a._tag === "apply" && a.op === "exp"'
      ]
    ),
    ...inFile("passes/unexpandHeads.ts", [
      "digits that neither side has are no heads",
      "|| own.left.some((d) => !l.has(d.name)) || own.right.some((d) => !r.has(d.name)))",
      ")"
    ])
  ]
}
