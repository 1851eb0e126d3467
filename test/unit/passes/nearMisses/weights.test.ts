import { describe } from "vitest"
import * as s from "../../../support/spell.ts"
import {
  attention,
  causal,
  cumsum,
  even,
  flip,
  float,
  fuses,
  fusesTwice,
  gate,
  hold,
  keep,
  max,
  node,
  one,
  others,
  p,
  padded,
  pEven,
  refused,
  row,
  scores,
  square,
  sum,
  v,
  weights,
  zero
} from "./nearMiss.ts"

const used = (w: s.N): s.N => s.matmul(w, v)
const usedEven = (w: s.N): s.N => s.matmul(w, square("v"))
const table = s.input("index", [6], "i32")
const masked = s.select(causal, p, zero)

describe("weights that are no multiple of the softmax", () => {
  const other = (w: s.N, failed: string) => refused(used(w), weights, failed)
  hold({
    squared: other(s.mul(p, p), "multiplied by themselves"),
    "squared and normalised again": other(s.div(s.mul(p, p), sum(s.mul(p, p))), "multiplied by themselves"),
    "times their logarithm": other(s.mul(p, s.op("log", p)), "multiplied by themselves"),
    "through a root": other(s.op("sqrt", p), "the weights go through `sqrt`"),
    "through a logarithm": other(s.op("log", p), "the weights go through `log`"),
    "through an exponential": other(s.exp(p), "the weights go through `exp`"),
    rounded: other(s.op("round", p), "the weights go through `round`"),
    "at least a number": other(s.op("max", p, s.constant(0.01)), "the weights go through `max`"),
    "their reciprocal": other(s.div(one, p), "the weights go through `div`"),
    "to the power of a gate": other(s.op("pow", p, gate), "the weights go through `pow`"),
    "with a number added": other(s.add(p, s.constant(0.1)), "a term is added to the weights"),
    "with those of the layer before added": other(
      s.add(p, s.input("previous", ["B", 4, "T", "S"])),
      "a term is added to the weights"
    ),
    "what is left of one": other(s.sub(one, p), "a term is added to the weights"),
    "less their mean": other(s.sub(p, s.div(sum(p), s.constant(5))), "a term is added to the weights"),
    "masked with a fill": other(s.select(keep, p, s.constant(-1e9)), "replaced by a number that is not 0"),
    "padded with ones": refused(
      s.matmul(padded(pEven, 1), s.input("v", ["B", 4, 7, 6])),
      weights,
      "replaced by a number that is not 0"
    ),
    "kept where they are large": other(
      s.select(s.op("gt", p, s.constant(0.1)), p, zero),
      "the weights choose between values"
    ),
    "kept where they are largest": other(
      s.select(s.op("ge", p, max(p)), p, zero),
      "the weights choose between values"
    ),
    "dropped where they are large": other(
      s.select(s.op("gt", p, s.constant(0.1)), zero, p),
      "the weights choose between values"
    ),
    "and what a table has where the weights say": other(
      s.add(p, s.gather(s.input("levels", [6]), s.cast(s.mul(p, s.constant(5)), "i32"), 0)),
      "a position depends on the weights"
    ),
    "as truth values": other(float(s.op("gt", p, s.constant(0.2))), "which is not a factor"),
    "guarded against NaN of what they are multiplied by": other(
      s.select(s.op("is_nan", s.mul(p, gate)), zero, s.mul(p, gate)),
      "the weights choose between values"
    ),
    "of a running sum": other(cumsum(p, 3), "the weights go through `cumsum`"),
    "of the largest alone": other(
      float(s.op("eq", s.iota("S"), row(node("argmax", [p], { axis: 3 })))),
      "the weights go through `argmax`"
    ),
    "at other columns": refused(
      usedEven(s.gather(pEven, table, 3)),
      weights,
      "the weights go through `gather`"
    ),
    "of other rows": refused(usedEven(s.gather(pEven, table, 2)), weights, "the weights go through `gather`"),
    "from the last to the first": refused(
      usedEven(flip(pEven, 3)),
      weights,
      "the weights go through `gather`"
    ),
    "of the mean of all heads": refused(
      s.matmul(node("reduce_sum", [p], { axes: [1] }), s.input("v", ["B", "S", 8])),
      weights,
      "the weights go through `reduce_sum`"
    ),
    "of the largest of all heads": refused(
      s.matmul(node("reduce_max", [p], { axes: [1] }), s.input("v", ["B", "S", 8])),
      weights,
      "the weights go through `reduce_max`"
    )
  })
})

describe("weights that know the scores of others", () => {
  const statistic = (w: s.N, op: string) =>
    refused(
      used(w),
      attention,
      `the weights are changed by ${op}, which is computed from the scores themselves`
    )
  const own = (w: s.N) => refused(used(w), weights, "the weights are multiplied by a function of the scores")
  hold({
    "over their greatest": statistic(s.div(p, max(p)), "reduce_max"),
    "over the sums of columns": statistic(s.div(p, sum(p, 2)), "reduce_sum"),
    "masked after the softmax and normalised again": statistic(s.div(masked, sum(masked)), "reduce_sum"),
    "masked after the softmax and nearly normalised again": statistic(
      s.div(masked, s.add(sum(masked), s.constant(1e-9))),
      "reduce_sum"
    ),
    "dropped out and normalised again": statistic(s.div(s.mul(p, gate), sum(s.mul(p, gate))), "reduce_sum"),
    "times the entropy of their row": statistic(s.mul(p, sum(s.mul(p, s.op("log", p)))), "reduce_sum"),
    "times their scores": own(s.mul(p, scores)),
    "times a gate that the scores open": own(s.mul(p, s.op("sigmoid", scores))),
    "kept where their scores are positive": own(s.select(s.op("gt", scores, zero), p, zero)),
    "times the scores less their log-sum-exp": own(s.mul(p, s.sub(scores, row(s.logsumexp(scores)))))
  })
})

describe("weights and what they are multiplied by", () => {
  hold({
    "masked after the softmax: weighed, not normalised": fuses(used(masked), "probability"),
    "multiplied by a mask after the softmax": fuses(used(s.mul(p, float(causal))), "probability"),
    "masked before and after": fuses(
      used(s.select(keep, s.softmax(s.select(causal, scores, s.constant(-Infinity))), zero)),
      "mask",
      "probability"
    ),
    "a temperature of each key, outside": fuses(used(s.mul(p, s.input("g", ["S"]))), "probability"),
    "a temperature of each key, inside": fuses(used(s.softmax(s.mul(scores, s.input("g", ["S"])))), "score"),
    "a temperature of each query, outside": fuses(used(s.mul(p, s.input("g", ["T", 1]))), "probability"),
    "a temperature of each query, inside": fuses(
      used(s.softmax(s.mul(scores, s.input("g", ["T", 1])))),
      "score"
    ),
    "a number outside": fuses(used(s.mul(p, s.constant(3))), "probability"),
    "twice the weights, as a sum": fuses(used(s.add(p, p)), "probability"),
    "dropped weights that somebody else reads": fuses(
      { out: used(s.mul(p, gate)), dropped: s.mul(p, gate) },
      "probability"
    ),
    "weights that somebody else reads, dropped": fuses(
      { out: used(s.mul(p, gate)), weights: p },
      "probability"
    ),
    "weights and other scores": fuses(used(s.mul(p, others)), "probability"),
    "weights of weights, from the left": fuses(usedEven(s.matmul(pEven, pEven))),
    "weights of weights, from the right": fusesTwice(s.matmul(pEven, usedEven(pEven))),
    "values that are scores": fuses(s.matmul(pEven, even))
  })
})
