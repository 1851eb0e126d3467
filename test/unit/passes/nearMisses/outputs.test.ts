import { describe, test } from "vitest"
import * as Shape from "../../../../ir/Shape.ts"
import { expectSameValue } from "../../../support/fusing.ts"
import * as s from "../../../support/spell.ts"
import {
  causal,
  compiled,
  every,
  expectSameNumbers,
  lengths,
  max,
  minusInfinity,
  node,
  others,
  scores,
  sum,
  v,
  zero
} from "./nearMiss.ts"

/** What else is asked of attention, nearly what it knows: whatever becomes of it, the values are those that were written. */

const some = s.select(s.reshape(s.input("keep", ["B", "T"], "bool"), ["B", 1, "T", 1]), scores, minusInfinity)
const masked = s.select(causal, scores, minusInfinity)
const attend = (x: s.N): s.N => s.matmul(s.softmax(x), v)
const over = (x: s.N, ...axes: ReadonlyArray<number>): s.N => node("reduce_sum", [x], { axes })
const greatest = (x: s.N, ...axes: ReadonlyArray<number>): s.N => node("reduce_max", [x], { axes })
const guarded = (x: s.N, m: s.N, nothing: s.N = zero): s.N =>
  s.select(s.op("is_inf", x), nothing, s.exp(s.sub(x, m)))

const hold = (cases: { readonly [name: string]: s.N | { readonly [name: string]: s.N } }): void => {
  for (const [name, outputs] of Object.entries(cases)) {
    test(name, () => {
      const before = s.graph(outputs)
      const { graph } = compiled(before)
      for (const at of lengths) expectSameValue(before, graph, at)
      expectSameNumbers(before, graph)
    })
  }
}

describe("weights beside the result", () => {
  const beside = (x: s.N, seen: (p: s.N) => s.N) => ({ out: attend(x), seen: seen(s.softmax(x)) })
  hold({
    "of rows without keys": beside(some, (p) => p),
    "masked, of all keys": beside(masked, (p) => p),
    "of every other head": beside(masked, (p) => every(p, 1, 2)),
    "of some heads": beside(masked, (p) => s.slice(p, 1, 1, 3)),
    "of the keys beside a sink": ((x: s.N) => ({
      out: s.matmul(s.slice(s.softmax(x), 3, 0, "S"), v),
      seen: s.slice(s.softmax(x), 3, 0, "S")
    }))(s.concat(3, some, s.input("sink", ["B", 4, "T", 1]))),
    "of some heads and the keys beside a sink": ((x: s.N) => ({
      out: s.matmul(s.slice(s.softmax(x), 3, 0, "S"), v),
      seen: node("slice", [s.softmax(x)], {
        starts: Shape.from([0, 1, 0, 0]),
        stops: Shape.from(["B", 3, "T", "S"]),
        steps: [1, 1, 1, 1]
      })
    }))(s.concat(3, some, s.input("sink", ["B", 4, "T", 1]))),
    "the sink beside the keys": ((x: s.N) => ({
      out: s.matmul(s.slice(s.softmax(x), 3, 0, "S"), v),
      seen: s.slice(s.softmax(x), 3, "S", s.Dim.add(s.Dim.from("S"), s.Dim.one))
    }))(s.concat(3, some, s.input("sink", ["B", 4, "T", 1]))),
    "half of the keys and the sink": ((x: s.N) => ({
      out: s.matmul(s.slice(s.softmax(x), 3, 0, "S"), v),
      seen: s.slice(s.softmax(x), 3, 1, s.Dim.add(s.Dim.from("S"), s.Dim.one))
    }))(s.concat(3, scores, s.input("sink", ["B", 4, "T", 1])))
  })
})

describe("sums of weights", () => {
  hold({
    "over the queries, some of which see nothing": over(s.softmax(some), 2),
    "over the queries and the heads": over(s.softmax(masked), 1, 2),
    "over the keys": over(s.softmax(some), 3),
    "over keys and queries": over(s.softmax(some), 2, 3),
    "squared, over the queries": over(s.mul(s.softmax(masked), s.softmax(masked)), 2),
    "over the queries of a softmax over the queries": over(s.softmax(masked, 2), 2),
    "over the keys of a softmax over the queries": over(s.softmax(masked, 2), 3)
  })
})

describe("statistics beside the result", () => {
  const beside = (x: s.N, seen: s.N) => ({ out: attend(x), seen })
  hold({
    "the greatest score of each row, some empty": beside(some, greatest(some, 3)),
    "the greatest score of rows and heads": beside(some, greatest(some, 3, 1)),
    "the greatest score of columns": beside(some, greatest(some, 2)),
    "the greatest of other scores": beside(some, greatest(scores, 3)),
    "the log-sum-exp of columns": beside(masked, s.logsumexp(masked, 2)),
    "the sum of the exponentials": beside(masked, over(guarded(masked, max(masked)), 3)),
    "the sum of the exponentials, of columns": beside(masked, over(guarded(masked, max(masked)), 2)),
    "of exponentials less another maximum": beside(masked, over(guarded(masked, max(others)), 3)),
    "of exponentials less the maximum of columns": beside(scores, over(guarded(scores, max(scores, 2)), 3)),
    "of exponentials and ones": beside(masked, over(guarded(masked, max(masked), s.constant(1)), 3)),
    "of exponentials kept where others are finite": beside(
      scores,
      over(s.select(s.op("is_inf", s.input("other", ["T", "S"])), zero, s.exp(s.sub(scores, max(scores)))), 3)
    ),
    "of roots less the maximum": beside(
      masked,
      over(s.select(s.op("is_inf", masked), zero, s.op("exp2", s.sub(masked, max(masked)))), 3)
    ),
    "of weights that were normalised by hand": beside(masked, sum(s.div(s.exp(scores), sum(s.exp(scores)))))
  })
})
