import { describe, expect, test } from "vitest"
import * as Reference from "../../../../backends/reference/Reference.ts"
import * as HostArray from "../../../../ir/HostArray.ts"
import * as Shape from "../../../../ir/Shape.ts"
import { canonicalize } from "../../../../passes/canonicalize.ts"
import { normalizeMask } from "../../../../passes/normalizeMask.ts"
import { normalizeSoftmax } from "../../../../passes/normalizeSoftmax.ts"
import * as arrays from "../../../support/arrays.ts"
import { through } from "../../../support/fusing.ts"
import { refined } from "../../../support/refined.ts"
import * as s from "../../../support/spell.ts"
import { expectOutputs } from "../../../support/tolerance.ts"
import { max, minusInfinity, node, one, sum, zero } from "./nearMiss.ts"

/** Quotients, shifts and guards that miss a softmax by one condition. What is written keeps its numbers, whatever the rules make of it. */

const sizes = { T: 3, S: 5, N: 3 }
type Values = { readonly [name: string]: ReadonlyArray<number> }

/** The same numbers before and after, rule by rule and all together. Values of inputs repeat until they are full. */
const same = (out: s.N, values: Values = {}): void => {
  const before = s.graph(out)
  const from = arrays.random(11)
  const inputs = before.inputs.map(({ attrs, type }) => {
    const shape = Shape.evaluate(type.shape, sizes)
    const own = values[attrs.name]
    return own === undefined
      ? arrays.array(from, type.dtype, shape)
      : HostArray.fromNumbers(
          type.dtype,
          shape,
          Float64Array.from({ length: HostArray.sizeOf(shape) }, (_, i) => own[i % own.length] as number)
        )
  })
  const evaluate = (g: typeof before) => Reference.evaluate(g, inputs, sizes, { precision: "f64" })
  for (const passes of [[normalizeSoftmax], [canonicalize, normalizeSoftmax, normalizeMask]]) {
    const { graph } = through(before, ...passes)
    const [expected, actual] = [evaluate(before), evaluate(graph)]
    expectOutputs(
      before,
      sizes,
      actual,
      expected.map((e, i) => refined(e, actual[i] as HostArray.HostArray)),
      { reassociated: true }
    )
  }
}

const x = s.input("x", ["T", "S"])
const y = s.input("y", ["T", "S"])
/** As many rows as columns: a value of each row may stand where one of each column belongs. */
const n = s.input("n", ["N", "N"])
const perRow = s.input("r", ["T", 1])
const oneRow = s.input("w", [1, "S"])
const over = (w: s.N, below: s.N): s.N => s.div(w, below)
const overSum = (w: s.N): s.N => over(w, sum(w))
const atLeast = (w: s.N, least: number): s.N => over(w, s.op("max", sum(w), s.constant(least)))
const nonzero = (total: s.N, tested: s.N = total): s.N => s.select(s.op("eq", tested, zero), one, total)
const asRow = (v: s.N): s.N => s.reshape(v, [1, "N"])
const asColumn = (v: s.N): s.N => s.reshape(v, ["N", 1])
const bare = (op: "reduce_sum" | "reduce_max", v: s.N, ...axes: ReadonlyArray<number>): s.N =>
  node(op, [v], { axes })
const e = s.exp(x)
const shifted = s.exp(s.sub(x, max(x)))

describe("sums and their guards", () => {
  const cases: { readonly [name: string]: readonly [s.N, Values?] } = {
    "a sum over no axis": [over(e, bare("reduce_sum", e))],
    "a sum over no axis, after the values": [
      over(s.matmul(s.exp(n), s.input("v", ["N", "N"])), bare("reduce_sum", s.exp(n)))
    ],
    "the logarithm of a sum over no axis": [s.op("log", bare("reduce_sum", e))],
    "one more, beside the sum of others": [over(e, s.add(sum(s.exp(y)), one))],
    "one more, beside the greatest": [over(e, s.add(max(e), one))],
    "one more, beside the sum of a column": [
      over(s.exp(n), s.add(asColumn(bare("reduce_sum", s.exp(n), 0)), one))
    ],
    "one more, of another shift": [over(shifted, s.add(sum(shifted), s.exp(s.op("neg", perRow))))],
    "one more, shifted by others": [
      over(shifted, s.add(sum(shifted), s.exp(s.sub(perRow, s.add(perRow, one)))))
    ],
    "one more, of scores that the shift stretches": [
      ((w: s.N) => over(w, s.add(sum(w), s.exp(s.op("neg", perRow)))))(s.exp(s.sub(oneRow, perRow)))
    ],
    "one more, of a vector of scores that the shift stretches": [
      ((w: s.N) => over(w, s.add(sum(w), s.exp(s.sub(s.input("a", [1, 1]), perRow)))))(
        s.exp(s.sub(s.input("w", ["S"]), perRow))
      )
    ],
    "scores that the shift stretches": [overSum(s.exp(s.sub(oneRow, perRow)))],
    "a vector of scores that the shift stretches": [overSum(s.exp(s.sub(s.input("w", ["S"]), perRow)))],
    "a sum that is put to 1 where it is not 0": [
      over(e, s.select(s.op("ne", sum(e), zero), one, sum(e))),
      { x: [1, 2] }
    ],
    "one more of each key": [over(e, s.add(sum(e), s.exp(y)))],
    "values of exponentials and their transpose": [
      over(s.matmul(s.mul(s.exp(n), s.swap(s.exp(n))), s.input("v", ["N", 4])), sum(s.exp(n)))
    ],
    "values of roots of exponentials": [over(s.matmul(s.op("sqrt", e), s.input("v", ["S", 4])), sum(e))],
    "two guards, the outer of which matters": [over(e, s.op("max", nonzero(sum(e)), one)), { x: [-5, -6] }],
    "at least ten, shifted": [atLeast(s.exp(s.sub(x, max(x))), 10)],
    "another sum tested for 0": [over(e, nonzero(sum(e), perRow)), { r: [0, 1, 2] }],
    "a sum tested for a number": [
      over(e, s.select(s.op("eq", sum(e), s.constant(5)), one, sum(e))),
      { x: [0] }
    ],
    "rows that a shift empties": [
      ((w: s.N) => over(w, nonzero(sum(w))))(s.exp(s.sub(x, perRow))),
      { r: [0, Infinity, 1] }
    ],
    "at least one, shifted by the maximum of others": [
      atLeast(s.exp(s.sub(x, max(y))), 1),
      { x: [-3, -4], y: [1] }
    ],
    "at least one, shifted by a number of each row": [atLeast(s.exp(s.sub(x, perRow)), 1), { r: [5] }],
    "at least one, shifted by the maximum of a column": [
      atLeast(s.exp(s.sub(n, asColumn(bare("reduce_max", n, 0)))), 1),
      { n: [1, 2, 3, -7, -8, -9, 0, 0, 0] }
    ],
    "at least one, shifted along the columns": [
      atLeast(s.exp(s.sub(n, asRow(bare("reduce_max", n, 1)))), 1),
      { n: [9, 9, 9, 0, 0, 0, 1, 2, 3] }
    ],
    "at least one, shifted by a maximum or, where that is 5, by 7": [
      atLeast(s.exp(s.sub(x, s.select(s.op("eq", max(x), s.constant(5)), s.constant(7), max(x)))), 1),
      { x: [1, 2, 3, 4, 5] }
    ],
    "at least one, by a maximum where something else is finite": [
      atLeast(s.exp(s.sub(x, s.select(s.op("is_inf", perRow), s.constant(7), max(x)))), 1),
      { r: [Infinity, 0, 1] }
    ]
  }
  for (const [name, [out, values]] of Object.entries(cases)) test(name, () => same(out, values))
})

describe("exponentials that are not", () => {
  const cases: { readonly [name: string]: readonly [s.N, Values?] } = {
    "weights put to 2": [overSum(s.select(s.input("drop", ["T", "S"], "bool"), s.constant(2), e))],
    "at least one, put to 0 where the greatest are kept": [
      atLeast(s.select(s.input("drop", ["T", "S"], "bool"), zero, shifted), 1),
      { x: [1, 2, 3, 4, 5], drop: [0, 0, 0, 0, 1] }
    ],
    "at least one, kept by a count": [
      atLeast(s.mul(shifted, s.cast(s.input("count", ["T", "S"], "i32"), "f32")), 1),
      { count: [0, 1, 0], x: [3, 2] }
    ],
    "weights kept by a count": [
      overSum(s.mul(e, s.cast(s.input("count", ["T", "S"], "i32"), "f32"))),
      { count: [0, 1, 2] }
    ],
    "base 2 of scores times a number": [overSum(s.op("exp2", s.mul(x, s.constant(1.3))))],
    "shifted behind a finite fill": [
      overSum(s.exp(s.select(s.input("drop", ["T", "S"], "bool"), s.constant(-1), s.sub(x, perRow))))
    ],
    "shifted along the columns": [s.softmax(s.sub(n, asRow(bare("reduce_max", n, 1))))],
    "less the log-sum-exp of another row": [s.exp(s.sub(n, asRow(s.logsumexp(n))))],
    "less the log-sum-exp of another row, shifted back": [
      s.exp(s.sub(n, s.add(max(n), asRow(s.logsumexp(s.sub(n, max(n)))))))
    ],
    "less the log-sum-exp of others, shifted back": [
      s.exp(s.sub(x, s.add(max(x), s.reshape(s.logsumexp(s.sub(y, max(x))), ["T", 1]))))
    ],
    "less a log-sum-exp, shifted back by another": [
      s.exp(s.sub(x, s.add(perRow, s.reshape(s.logsumexp(s.sub(x, max(x))), ["T", 1]))))
    ]
  }
  for (const [name, [out, values]] of Object.entries(cases)) test(name, () => same(out, values))

  const alone = s.input("x", ["T", 1])
  const masks = {
    "added to rows": s.add(x, perRow),
    "added to one key": s.add(alone, perRow),
    "taken from one key": s.sub(alone, perRow)
  }
  for (const [name, y] of Object.entries(masks)) {
    test(`a mask that is ${name} is no shift`, () => {
      const w = s.exp(y)
      const p = over(w, sum(w))
      const none = name.startsWith("added") ? -Infinity : Infinity
      same(s.select(s.op("is_nan", p), zero, p), { r: [0, none, 1] })
    })
  }
})

/** Only truth values are 0 or 1, and only one fill can stand for two. */
describe("masks that are not", () => {
  const count = s.cast(s.input("count", ["T", "S"], "i32"), "f32")
  const [drop, keep] = [s.input("drop", ["T", "S"], "bool"), s.input("keep", ["T", "S"], "bool")]
  const fill = s.constant(-2)
  const cases: { readonly [name: string]: s.N } = {
    "one less a count, times a number": s.add(x, s.mul(s.sub(one, count), fill)),
    "a truth value, times an integer": s.mul(s.cast(keep, "i32"), s.constant(-3, "i32")),
    "a count, times a number": s.add(x, s.mul(count, fill)),
    "a count less one, times a number": s.add(x, s.mul(s.sub(count, one), fill)),
    "a number in front of -inf": s.select(drop, fill, s.select(keep, x, minusInfinity)),
    "-inf in front of a number": s.select(drop, minusInfinity, s.select(keep, x, fill)),
    "a number behind -inf": s.select(keep, s.select(drop, x, fill), minusInfinity),
    "one number in front of another": s.select(drop, fill, s.select(keep, x, s.constant(-3)))
  }
  for (const [name, out] of Object.entries(cases)) test(name, () => same(out, { count: [0, 1, 2, 3] }))
})

describe("rows that are put to 0 by what columns hold", () => {
  const p = s.softmax(n)
  const column = (op: "reduce_min" | "reduce_max", c: s.N): s.N => asColumn(node(op, [c], { axes: [0] }))
  const cases: { readonly [name: string]: s.N } = {
    "all of it -inf": s.select(column("reduce_min", s.op("eq", n, minusInfinity)), zero, p),
    "some of it not -inf": s.select(column("reduce_max", s.op("ne", n, minusInfinity)), p, zero),
    "its greatest -inf": s.select(s.op("eq", column("reduce_max", n), minusInfinity), zero, p)
  }
  const values = { n: [-Infinity, 1, 2, -Infinity, 3, 4, -Infinity, 5, 6] }
  for (const [name, out] of Object.entries(cases)) test(name, () => same(out, values))
})

describe("rows that are put to 0", () => {
  const p = s.softmax(x)
  const all = (c: s.N): s.N => s.reshape(node("reduce_min", [c], { axes: [1] }), ["T", 1])
  const some = (c: s.N): s.N => s.reshape(node("reduce_max", [c], { axes: [1] }), ["T", 1])
  const values = { x: [1, 1, 1, 1, 1, ...[1, 2, 3, 4, 5], ...Array.from({ length: 5 }, () => -Infinity)] }
  const flags = s.input("flag", ["T", "S"], "bool")
  const cases: { readonly [name: string]: s.N } = {
    "all of whose scores are 1": s.select(all(s.op("eq", x, one)), zero, p),
    "all of whose scores are below a number": s.select(all(s.op("lt", x, s.constant(2))), zero, p),
    "by flags": s.select(all(flags), zero, p),
    "all of whose other scores are -inf": s.select(all(s.op("eq", y, minusInfinity)), zero, p),
    "none of whose scores is 1": s.select(some(s.op("ne", x, one)), p, zero),
    "unless flagged": s.select(some(flags), p, zero),
    "whose greatest is 1": s.select(s.op("eq", max(x), one), zero, p),
    "unless the greatest is above a number": s.select(s.op("gt", max(x), s.constant(2)), p, zero),
    "that have a key": s.select(s.op("not", all(s.op("eq", x, minusInfinity))), zero, p),
    "that have a key, by their greatest": s.select(s.op("gt", max(x), minusInfinity), zero, p)
  }
  for (const [name, out] of Object.entries(cases))
    test(name, () => same(out, { ...values, y: [-Infinity, -Infinity, -Infinity, -Infinity, -Infinity, 1] }))
  test("rows without keys are 0 already", () => {
    const empty = all(s.op("eq", x, minusInfinity))
    for (const out of [s.select(empty, zero, p), s.select(s.op("not", empty), p, zero)]) {
      same(out, values)
      expect(through(s.graph(out), normalizeSoftmax).graph.nodes.map((o) => o.op)).toEqual([
        "input",
        "softmax"
      ])
    }
  })
})
