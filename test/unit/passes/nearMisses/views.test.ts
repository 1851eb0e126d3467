import { describe, expect, test } from "vitest"
import * as Graph from "../../../../ir/Graph.ts"
import type { Node } from "../../../../ir/Node.ts"
import * as Shape from "../../../../ir/Shape.ts"
import { canonicalize } from "../../../../passes/canonicalize.ts"
import * as Basis from "../../../../passes/fusion/Basis.ts"
import * as IndexExpr from "../../../../passes/fusion/IndexExpr.ts"
import { normalizeSoftmax } from "../../../../passes/normalizeSoftmax.ts"
import { expectSameValue, through } from "../../../support/fusing.ts"
import * as s from "../../../support/spell.ts"
import { compiled, every, flashes, fuses, hold, node, sum } from "./nearMiss.ts"

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

/** Heads taken apart and put together, with one thing out of order. */
describe("heads in pieces", () => {
  const wide = (H: number, name: string): s.N => s.input(name, ["B", H, "S", 8])
  const heads = (x: s.N, ...ranges: ReadonlyArray<readonly [number, number]>): ReadonlyArray<s.N> =>
    ranges.map(([from, to]) => s.slice(x, 1, from, to))
  const stepped = (x: s.N, from: number): s.N =>
    node("slice", [x], {
      starts: Shape.from([0, from, 0, 0]),
      stops: x.type.shape,
      steps: [1, 2, 1, 1]
    })
  const attend = (H: number, make: (x: s.N, other: s.N) => s.N, from: number): s.N => {
    const queries = s.input("q", ["B", H, "T", 8])
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => wide(from, name)) as [s.N, s.N, s.N, s.N]
    return s.matmul(s.softmax(s.matmul(queries, s.swap(make(a, b)))), make(c, d))
  }
  const [two, three] = [s.constant(2, "i32"), s.constant(3, "i32")]
  const row = (x: s.N, head: number, first: number): s.N =>
    s.slice(s.slice(x, 1, head, head + 1), 3, first, first + 4)
  hold({
    "of several lengths": fuses(attend(4, (x) => s.concat(1, ...heads(x, [0, 1], [0, 2], [1, 2])), 2)),
    "of two tensors": fuses(
      attend(
        4,
        (x, y) =>
          s.concat(1, ...heads(x, [0, 1]), ...heads(y, [0, 1]), ...heads(x, [1, 2]), ...heads(y, [1, 2])),
        2
      )
    ),
    "every other one first": fuses(attend(4, (x) => s.concat(1, stepped(x, 0), stepped(x, 1)), 4)),
    "of other features each": fuses(
      s.matmul(
        s.softmax(
          s.matmul(
            s.input("q", ["B", 2, "T", 4]),
            s.swap(s.concat(1, row(wide(2, "a"), 0, 0), row(wide(2, "a"), 1, 3)))
          )
        ),
        wide(2, "v")
      )
    ),
    "with a gap": fuses(
      attend(
        4,
        (x) =>
          s.gather(x, s.add(s.mul(s.op("floor_div", s.iota(4), two), three), s.op("mod", s.iota(4), two)), 1),
        5
      )
    ),
    "in no order": fuses(attend(4, (x) => s.concat(1, ...heads(x, [1, 2], [0, 1], [0, 1], [1, 2])), 2)),
    "beyond the end, where the last one stands": fuses(
      attend(8, (x) => s.gather(s.slice(x, 1, 0, 4), s.iota(8), 1), 8)
    )
  })
})

test("a number of more axes than what it scales", () => {
  const keys = s.mul(s.input("k", ["S", 8]), s.input("scale", [1, 1, 1, 1]))
  const before = s.graph(
    s.matmul(s.softmax(s.matmul(s.input("q", [1, 1, "T", 8]), s.swap(keys))), s.input("v", [1, 1, "S", 8]))
  )
  const { graph } = compiled(before)
  expect(flashes(graph).length).toBe(1)
  expectSameValue(before, graph, { T: 3, S: 5 })
})

test("what a product with a length of unknown sign is at most is not known", () => {
  const difference = s.Dim.sub(s.Dim.from("S"), s.Dim.from("T"))
  const x = IndexExpr.scale(IndexExpr.variable("x", s.Dim.from(4)), difference)
  expect([IndexExpr.greatest(x), IndexExpr.least(x)]).toEqual([undefined, undefined])
})

test("operands that were rounded are read rounded", () => {
  const halves = ["q", "k"].map((name) => s.cast(s.input(name, ["B", 4, "T", 8]), "f16")) as [s.N, s.N]
  const scores = s.cast(s.matmul(halves[0], s.swap(halves[1])), "f32")
  const { graph } = compiled(s.graph(s.matmul(s.softmax(scores), s.input("v", ["B", 4, "T", 8]))))
  const [flash] = flashes(graph)
  const behind = (x: Node | undefined): Node | undefined => (x?.op === "cast" ? x.operands[0] : x)
  // One type holds all operands; what is cast to it was cast to half precision before.
  for (const operand of flash?.operands.slice(0, 2) ?? []) expect(behind(operand)?.type.dtype).toBe("f16")
})

test("an operand whose axes count one index twice is a diagonal, not a view", () => {
  const h = { name: "h", size: s.Dim.from(4) }
  const at = IndexExpr.variable(h.name, h.size)
  const x = s.input("x", [4, 4])
  expect(Basis.arrange(Basis.make([h]), [{ node: x, at: [at, at] }], new Set())).toBeUndefined()
})
