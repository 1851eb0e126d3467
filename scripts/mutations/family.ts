import { inFile, type Theme } from "./Mutation.ts"

/** Statistics, weights that somebody reads, sums of weights, functions of scores without a softmax. */
export const family: Theme = {
  name: "family",
  tests: [
    "test/unit/passes/nearMisses/outputs.test.ts",
    "test/unit/passes/nearMisses/several.test.ts",
    "test/unit/passes/family.test.ts",
    "test/unit/passes/nearMisses/weights.test.ts"
  ],
  mutations: [
    ...inFile(
      "passes/fusion/outputs.ts",
      [
        "a statistic is of one axis",
        "if (axis === undefined || another !== undefined) return undefined",
        "if (axis === undefined) return undefined"
      ],
      ["a sum of a row is of exponentials", "if (!written || !guarded ||", "if (!guarded ||"],
      ["a sum of a row leaves out its own infinities", "if (!written || !guarded ||", "if (!written ||"],
      ["a sum of a row has 0 for infinities", "|| uniform(nothing as Node.Node) !== 0) return", ") return"],
      ["exponentials are less their own maximum", "&& max.operands[0] === x &&", "&&"],
      [
        "weights of rows without keys are 0",
        'const under = make("max", [rearrange.cast(sum, over.type.dtype), one], {})',
        "const under = rearrange.cast(sum, one.type.dtype)"
      ],
      [
        "a part of the weights is a whole part of the scores",
        "attrs.steps.some((s) => s !== 1) || shape.some((_, i) => i !== axis && !whole(i))",
        "attrs.steps.some((s) => s !== 1)"
      ],
      [
        "infinite scores weigh nothing",
        'return make("select", [make("is_inf", [x], {}), zero, exp], {})',
        "return exp"
      ]
    ),
    ...inFile(
      "passes/fusion/zeros.ts",
      [
        "what a condition hides is 0 there",
        "if (!Element.isConstant(folded(table, given(condition, holds)), 0)) continue",
        ""
      ],
      [
        "conditions on scores hide nothing",
        'if (condition?.dtype === "bool" && !onLogit.has(condition)) found',
        'if (condition?.dtype === "bool") found'
      ],
      [
        "what shows is what the condition says",
        'holds === 0 ? condition : table.apply("not", [condition], "bool")',
        "condition"
      ]
    )
  ]
}
