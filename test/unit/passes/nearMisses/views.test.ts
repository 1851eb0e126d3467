import { describe, expect, test } from "vitest"
import * as Graph from "../../../../ir/Graph.ts"
import { canonicalize } from "../../../../passes/canonicalize.ts"
import * as Basis from "../../../../passes/fusion/Basis.ts"
import * as IndexExpr from "../../../../passes/fusion/IndexExpr.ts"
import { normalizeSoftmax } from "../../../../passes/normalizeSoftmax.ts"
import { expectSameValue, through } from "../../../support/fusing.ts"
import * as s from "../../../support/spell.ts"
import { every, sum } from "./nearMiss.ts"

/** Views that are nearly one view, and lengths that are nearly proven. */

describe("slices of slices", () => {
  const x = s.input("x", [24, 2])
  const same = (out: s.N): void => {
    const before = s.graph(out)
    expectSameValue(before, through(before, canonicalize).graph, {})
  }
  test("steps inside", () => same(s.slice(every(x, 0, 2), 0, 1, 9)))
  test("steps outside", () => same(every(s.slice(x, 0, 3, 20), 0, 2)))
  test("steps both times", () => same(every(every(x, 0, 2), 0, 3)))
  test("every element, from the second on", () => same(s.slice(x, 0, 1, 24)))
})

/** Lengths that must be equal at run time are checked by each call: what is simplified still says so. */
describe("lengths that coincide by assumption", () => {
  const constraints = (graph: Graph.Graph): ReadonlyArray<string> =>
    Graph.constraints(graph).map((c) => JSON.stringify(c))
  test("a reshape of a reshape", () => {
    const x = s.input("x", ["T"])
    const unused = { n: s.input("n", ["N"]), m: s.input("m", ["M"]) }
    const before = s.graph({ out: s.reshape(s.reshape(x, ["N"]), ["M"]), ...unused })
    expect(constraints(before).length).toBe(2)
    expect(constraints(through(before, canonicalize).graph)).toEqual(constraints(before))
  })
  test("a sum of rows of another length", () => {
    const e = s.exp(s.input("x", ["T", "S"]))
    const rows = s.reshape(sum(e), ["N", 1])
    const before = s.graph({ out: s.div(e, rows), n: s.input("n", ["N"]) })
    expect(constraints(through(before, normalizeSoftmax).graph)).toEqual(constraints(before))
  })
})

test("an operand whose axes count one index twice is a diagonal, not a view", () => {
  const h = { name: "h", size: s.Dim.from(4) }
  const at = IndexExpr.variable(h.name, h.size)
  const x = s.input("x", [4, 4])
  expect(Basis.arrange(Basis.make([h]), [{ node: x, at: [at, at] }], new Set())).toBeUndefined()
})
