import { describe } from "vitest"
import * as s from "../../../support/spell.ts"
import {
  attention,
  cumsum,
  even,
  fuses,
  gate,
  hold,
  k,
  k2,
  made,
  madeByNone,
  max,
  minusInfinity,
  node,
  one,
  p,
  q,
  refused,
  row,
  scores,
  square,
  sum,
  v,
  weights,
  zero
} from "./nearMiss.ts"

const used = (x: s.N): s.N => s.matmul(s.softmax(x), v)
const usedEven = (x: s.N): s.N => s.matmul(s.softmax(x), square("v"))

describe("scores that know each other", () => {
  const statistic = (x: s.N, op: string) =>
    refused(
      used(x),
      attention,
      `the scores are changed by ${op}, which is computed from the scores themselves`
    )
  const fifth = s.constant(0.2)
  hold({
    "times their sum": statistic(s.mul(scores, sum(scores)), "reduce_sum"),
    "in units of their maximum": statistic(s.div(scores, max(scores)), "reduce_max"),
    "less their mean": statistic(s.sub(scores, s.mul(sum(scores), fifth)), "reduce_sum"),
    "less the maximum of their column": statistic(s.sub(scores, max(scores, 2)), "reduce_max"),
    "less the mean of all heads": statistic(s.sub(scores, s.mul(sum(scores, 1), fifth)), "reduce_sum"),
    "in units of their norm": statistic(
      s.div(scores, s.op("sqrt", sum(s.mul(scores, scores)))),
      "reduce_sum"
    ),
    "close to their greatest": statistic(
      s.select(s.op("ge", scores, s.sub(max(scores), one)), scores, minusInfinity),
      "reduce_max"
    ),
    "all but the greatest": statistic(
      s.select(s.op("eq", s.iota("S"), row(node("argmax", [scores], { axis: 3 }))), minusInfinity, scores),
      "argmax"
    ),
    "with contextual positions": statistic(s.add(scores, cumsum(s.op("sigmoid", scores), 3)), "cumsum"),
    "with their own weights": statistic(s.add(scores, s.softmax(scores)), "softmax"),
    "running sums": refused(used(cumsum(scores, 3)), madeByNone, "no contraction of queries with keys"),
    "normalised as a layer": refused(
      used(node("layer_norm", [scores], { axis: 3, epsilon: 1e-5 })),
      madeByNone,
      "no contraction of queries with keys"
    ),
    "weights as scores": refused(used(p), madeByNone, "no contraction of queries with keys"),
    "a column that repeats a key": refused(
      s.matmul(s.slice(s.softmax(s.concat(3, even, s.slice(even, 3, 0, 1))), 3, 0, 6), square("v")),
      attention,
      "computed from the scores themselves"
    ),
    "a column of the greatest score": refused(
      s.matmul(s.slice(s.softmax(s.concat(3, even, max(even))), 3, 0, 6), square("v")),
      attention,
      "computed from the scores themselves"
    ),
    "a column that repeats the only key": refused(
      ((x: s.N) => s.matmul(s.slice(s.softmax(s.concat(2, x, x)), 2, 0, 1), s.input("v", ["B", 1, 8])))(
        s.matmul(s.input("q", ["B", "T", 8]), s.swap(s.input("k", ["B", 1, 8])))
      ),
      weights,
      "a column without a value has a logit that is a function of the scores"
    )
  })
})

describe("scores of no contraction, or of several", () => {
  hold({
    "no contraction at all": refused(
      used(s.input("scores", ["B", 4, "T", "S"])),
      madeByNone,
      "no contraction of queries with keys"
    ),
    "queries alone": refused(
      used(s.add(s.input("bias", ["T", "S"]), row(s.einsum("bhtd,bhd->bht", q, s.input("u", ["B", 4, 8]))))),
      made,
      "no contraction of queries with keys"
    ),
    distances: refused(
      used(
        s.op(
          "neg",
          node(
            "reduce_sum",
            [s.op("abs", s.sub(s.reshape(q, ["B", 4, "T", 1, 8]), s.reshape(k, ["B", 4, 1, "S", 8])))],
            {
              axes: [4]
            }
          )
        )
      ),
      madeByNone,
      "no contraction of queries with keys"
    ),
    "scores and their transpose": fuses(usedEven(s.add(even, s.swap(even))), "score"),
    "kept where greater than the transpose": fuses(
      usedEven(s.select(s.op("gt", even, s.swap(even)), even, minusInfinity)),
      "score"
    ),
    "scores and those of the next head": fuses(
      used(s.add(scores, s.concat(1, s.slice(scores, 1, 1, 4), s.slice(scores, 1, 0, 1)))),
      "score"
    ),
    integers: refused(
      used(
        s.cast(
          s.matmul(s.input("q", ["B", 4, "T", 8], "i32"), s.swap(s.input("k", ["B", 4, "S", 8], "i32"))),
          "f32"
        )
      ),
      weights,
      "the logits are i32"
    )
  })
})

describe("functions of one score", () => {
  hold({
    "rounded down": fuses(used(s.op("floor", scores)), "score"),
    "through an integer": fuses(used(s.cast(s.cast(scores, "i32"), "f32")), "score"),
    "truth values of scores": fuses(used(s.cast(s.op("gt", scores, zero), "f32")), "score"),
    "positive ones alone": fuses(used(s.select(s.op("gt", scores, zero), scores, minusInfinity)), "score"),
    "NaN as no key": fuses(used(s.select(s.op("is_nan", scores), minusInfinity, scores)), "score"),
    squared: fuses(used(s.mul(scores, scores)), "score"),
    "the sign of a key": fuses(used(s.mul(scores, s.op("sign", s.input("g", ["S"])))), "score"),
    "over the norm of the query": fuses(used(s.div(scores, s.op("sqrt", sum(s.mul(q, q))))), "score"),
    "over the norm of the key": fuses(used(s.div(scores, s.swap(s.op("sqrt", sum(s.mul(k, k)))))), "score"),
    "other keys that are scaled by these": fuses(
      s.matmul(s.softmax(s.matmul(q, s.swap(s.mul(k2, sum(k))))), v)
    ),
    "to the power of a gate": fuses(used(s.op("pow", s.op("abs", scores), s.op("abs", gate))), "score")
  })
})
