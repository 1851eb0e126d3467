import { describe, expect, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import * as Print from "../../ir/Print.ts"
import * as TensorType from "../../ir/TensorType.ts"
import * as canonicalize from "../../passes/canonicalize.ts"
import * as normalizeMask from "../../passes/normalizeMask.ts"
import * as normalizeSoftmax from "../../passes/normalizeSoftmax.ts"
import * as Pattern from "../../passes/Pattern.ts"
import * as Rule from "../../passes/Rule.ts"
import { graphOf } from "../support/evaluate.ts"
import { expectSameValue, randomInputs } from "../support/fusing.ts"

const rules = [...canonicalize.rules, ...normalizeSoftmax.rules, ...normalizeMask.rules]
const sizes = { T: 3, S: 5, B: 2 }

const rewritten = (rule: Rule.Rule, text: string) => {
  let fired = 0
  const before = graphOf(text)
  const after = Rule.rewrite(before, [rule], () => void fired++)
  return { before, after, fired }
}

describe("every rule, on its example", () => {
  test("names are kebab-case and unique", () => {
    const names = rules.map((r) => r.name)
    expect(new Set(names).size).toBe(names.length)
    for (const name of names) expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/)
  })

  for (const rule of rules) {
    test(`${rule.name}: ${rule.law}`, () => {
      const text = `graph {\n${rule.example}\nreturn ${(/(%\d+)[^\n]*$/.exec(rule.example) as RegExpExecArray)[1]}\n}`
      const { before, after, fired } = rewritten(rule, text)
      expect(fired, Print.graph(before)).toBeGreaterThan(0)
      // Its own result gives it nothing more to do.
      expect(rewritten(rule, Print.graph(after)).fired, Print.graph(after)).toBe(0)
      const [x, y] = [before.outputs[0], after.outputs[0]].map((o) => o?.node.type)
      expect(x && y && TensorType.equals(x, y)).toBe(true)
      if (rule.kind === "exact") {
        const inputs = randomInputs(before, sizes, 3)
        const [a, b] = [before, after].map((g) => Reference.evaluate(g, inputs, sizes))
        // Signs of zeros aside.
        expect([...(b?.[0]?.data ?? [])].map((v) => v + 0)).toEqual(
          [...(a?.[0]?.data ?? [])].map((v) => v + 0)
        )
      } else expectSameValue(before, after, sizes)
    })
  }
})

describe("definitions", () => {
  test("a variable that the match does not bind is refused", () => {
    const { add, mul } = Pattern.ops
    expect(() =>
      Rule.make("wrong", {
        law: "x + y = x · z",
        kind: "exact",
        match: ({ x, y }) => add(x, y),
        rewrite: ({ x, z }) => mul(x, z),
        example: ""
      })
    ).toThrow("wrong: rewrites to z, which the match does not bind")
  })
})
