import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import * as DType from "../../ir/DType.ts"
import type * as Graph from "../../ir/Graph.ts"
import * as HostArray from "../../ir/HostArray.ts"
import * as Parse from "../../ir/Parse.ts"
import * as Print from "../../ir/Print.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Tolerance from "../../ir/Tolerance.ts"
import * as canonicalize from "../../passes/canonicalize.ts"
import * as normalizeMask from "../../passes/normalizeMask.ts"
import * as normalizeSoftmax from "../../passes/normalizeSoftmax.ts"
import * as Rule from "../../passes/Rule.ts"
import * as arrays from "../support/arrays.ts"
import { refined } from "../support/refined.ts"

/** What a rule says of floats holds where they are not ordinary: NaN, infinities, zeros, the largest and the smallest. */

const rules = [...canonicalize.rules, ...normalizeSoftmax.rules, ...normalizeMask.rules]
const sizes = { T: 3, S: 5, B: 2 }
const seeds = [1, 2, 3, 4, 5, 6]

/** The smallest numbers above 0. */
const least: { readonly [D in DType.FloatDType]: number } = {
  f64: 2 ** -1074,
  f32: 2 ** -149,
  bf16: 2 ** -133,
  f16: 2 ** -24
}

/** Elements by theme, each beside ordinary ones. */
const themes = {
  zeros: () => [0, -0, 1, -1],
  "minus infinity": () => [-Infinity, -Infinity, 0],
  poison: () => [Number.NaN, Infinity, -Infinity, 0, -0],
  extremes: (d: DType.FloatDType) => [
    DType.maxFinite[d],
    -DType.maxFinite[d] / 3,
    least[d],
    -3 * least[d],
    1e30
  ]
} satisfies { readonly [name: string]: (d: DType.FloatDType) => ReadonlyArray<number> }
type Theme = keyof typeof themes

const arraysOf = (graph: Graph.Graph, theme: Theme, seed: number): ReadonlyArray<HostArray.HostArray> => {
  const from = arrays.random(seed)
  return graph.inputs.map(({ type: { dtype, shape } }) => {
    const own = Shape.evaluate(shape, sizes)
    const ordinary = arrays.array(from, dtype, own)
    if (!DType.isFloat(dtype)) return ordinary
    const special = themes[theme](dtype)
    const values = HostArray.toNumbers(ordinary).map((x) => (from.next() < 0.5 ? x : from.pick(special)))
    return HostArray.fromNumbers(dtype, own, values)
  })
}

/** The example, the same in half precision, and both with other constants where the rule still fires. */
const variants = (
  rule: Rule.Rule
): ReadonlyArray<{ readonly before: Graph.Graph; readonly after: Graph.Graph }> => {
  const last = (/(%\d+)[^\n]*$/.exec(rule.example) as RegExpExecArray)[1]
  const texts = [rule.example, rule.example.replaceAll("f32", "f16")]
  const constants = ["0", "-0", "1", "-1", "2", "0.1", "16384", "1e-7", "60000", "inf", "-inf", "nan"]
  const parts = rule.example.split(/values = \[[^\]]*\]/).length - 1
  const changed = texts.flatMap((text) =>
    Array.from({ length: parts }, (_, n) => n).flatMap((n) =>
      constants.map((c) => {
        let seen = 0
        return text.replaceAll(/values = \[[^\]]*\]/g, (own) => (seen++ === n ? `values = [${c}]` : own))
      })
    )
  )
  return [...texts, ...changed].flatMap((text) => {
    const parsed = Parse.graph(`graph {\n${text}\nreturn ${last}\n}`)
    if (Result.isFailure(parsed)) return []
    let fired = 0
    const after = Rule.rewrite(parsed.success, [rule], () => void fired++)
    return fired === 0 ? [] : [{ before: parsed.success, after }]
  })
}

const one = (
  graph: Graph.Graph,
  inputs: ReadonlyArray<HostArray.HostArray>,
  options: Reference.Options = {}
): HostArray.HostArray => Reference.evaluate(graph, inputs, sizes, options)[0] as HostArray.HostArray

const unsigned = (x: HostArray.HostArray): ReadonlyArray<number> =>
  [...HostArray.toNumbers(x)].map((v) => v + 0)

const within = (
  { before, after }: { readonly before: Graph.Graph; readonly after: Graph.Graph },
  actual: HostArray.HostArray,
  expected: HostArray.HostArray
): void => {
  const [tolerance] = Tolerance.of(before, sizes, { reassociated: true })
  const { ok, message } = Tolerance.compare(actual, expected, tolerance as Tolerance.Tolerance)
  expect(ok, `${message}\n${Print.graph(before)}\n${Print.graph(after)}`).toBe(true)
}

const every = (
  rule: Rule.Rule,
  of: ReadonlyArray<Theme>,
  holds: (pair: Pair, inputs: Arrays) => void
): void => {
  const pairs = variants(rule)
  expect(pairs.length).toBeGreaterThan(0)
  for (const pair of pairs)
    for (const theme of of) for (const seed of seeds) holds(pair, arraysOf(pair.before, theme, seed))
}
type Pair = { readonly before: Graph.Graph; readonly after: Graph.Graph }
type Arrays = ReadonlyArray<HostArray.HostArray>

const all = Object.keys(themes) as ReadonlyArray<Theme>
const ofKind = (kind: Rule.Kind) => rules.filter((r) => r.kind === kind)

describe("exact: the same bits, signs of zeros aside", () => {
  for (const rule of ofKind("exact")) {
    test(rule.name, () => {
      every(rule, all, ({ before, after }, inputs) =>
        expect(unsigned(one(after, inputs)), Print.graph(before)).toEqual(unsigned(one(before, inputs)))
      )
    })
  }
})

/** In an arithmetic of a larger range no step leaves it, as one of either side may in the dtype. */
const wide: Reference.Options = { precision: "f64" }

describe("reassociates: NaN and infinities where they were, unless a step leaves the range of the dtype", () => {
  for (const rule of ofKind("reassociates")) {
    test(rule.name, () => {
      every(rule, all, (pair, inputs) =>
        within(pair, one(pair.after, inputs, wide), one(pair.before, inputs, wide))
      )
    })
  }
})

/** A guard against NaN is taken away, or one score of +inf makes NaN of its row and not of itself alone. */
const spreading = new Set([
  "softmax-is-a-number",
  "safe-softmax-kept",
  "exp-minus-logsumexp",
  "sum-with-extra-column"
])

describe("refines-nan: numbers stay, NaN may become a number", () => {
  for (const rule of ofKind("refines-nan")) {
    test(rule.name, () => {
      every(rule, ["zeros", "minus infinity"], (pair, inputs) => {
        const actual = one(pair.after, inputs, wide)
        within(pair, actual, refined(one(pair.before, inputs, wide), actual))
      })
    })
    test(`${rule.name}, where operands are NaN, +inf or very large`, () => {
      let made = 0
      every(rule, ["poison", "extremes"], (pair, inputs) => {
        const actual = HostArray.toNumbers(one(pair.after, inputs, wide))
        HostArray.toNumbers(one(pair.before, inputs, wide)).forEach((expected, i) => {
          if (Number.isFinite(expected) && Number.isNaN(actual[i])) made++
        })
      })
      expect(made > 0).toBe(spreading.has(rule.name))
    })
  }
})
