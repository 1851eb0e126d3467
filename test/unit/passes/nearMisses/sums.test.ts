import { describe } from "vitest"
import * as s from "../../../support/spell.ts"
import {
  attention,
  causal,
  cumsum,
  even,
  fuses,
  gate,
  hold,
  k2,
  late,
  logSum,
  max,
  node,
  one,
  others,
  q,
  quotient,
  refused,
  roll,
  row,
  scores,
  square,
  sum,
  v,
  weights,
  zero
} from "./nearMiss.ts"

const e = s.exp(scores)
const exponentials = s.exp(even)
const used = (w: s.N): s.N => s.matmul(w, v)
const usedEven = (w: s.N): s.N => s.matmul(w, square("v"))
const normalised = (w: s.N): s.N => used(s.div(w, sum(w)))
const shifted = (by: s.N): s.N => s.exp(s.sub(scores, by))
const kept = (w: s.N): s.N => s.select(causal, w, zero)

describe("exponentials over what is not the sum of their row", () => {
  const over = (above: s.N, below: s.N, failed: string) =>
    refused(used(s.div(above, below)), quotient, failed)
  const another = "the sum is not of the exponentials that it divides: these have "
  hold({
    "the sum of all heads": over(e, sum(e, 1, 3), "the sum is over axes 1, 3 of f32[B, 4, T, S]"),
    "the sum of everything": over(
      e,
      sum(e, 0, 1, 2, 3),
      "the sum is over axes 0, 1, 2, 3 of f32[B, 4, T, S]"
    ),
    "the sums of columns": refused(used(s.div(e, sum(e, 2))), weights, "the softmax normalises axis 2"),
    "sums of rows that divide along the keys": refused(
      usedEven(s.div(exponentials, s.swap(s.add(sum(exponentials), s.constant(1e-9))))),
      quotient,
      "the sum is over axis 3 of f32[B, 4, 6, 6] and divides as f32[B, 4, 1, 6]"
    ),
    "the sum of other scores": over(
      e,
      sum(s.exp(others)),
      `${another}dot of f32[B, 4, T, S] where the sum has another dot`
    ),
    "the sum of the scores of other keys": over(
      e,
      sum(s.exp(s.matmul(q, s.swap(k2)))),
      `${another}the input k where the sum has the input k2`
    ),
    "no maximum below": over(
      shifted(max(scores)),
      sum(e),
      `${another}sub of f32[B, 4, T, S] where the sum has dot`
    ),
    "no maximum above": over(
      e,
      sum(shifted(max(scores))),
      `${another}dot of f32[B, 4, T, S] where the sum has sub`
    ),
    "the maximum of the row above, of all heads below": over(
      shifted(max(scores)),
      sum(shifted(max(scores, 1, 3))),
      `${another}reduce_max of f32[B, 4, T] where the sum has reduce_max of f32[B, T]`
    ),
    "masked above only": over(kept(e), sum(e), `${another}select of f32[B, 4, T, S] where the sum has exp`),
    "masked below only": over(e, sum(kept(e)), `${another}exp of f32[B, 4, T, S] where the sum has select`),
    "dropped out above only": over(
      s.mul(e, gate),
      sum(e),
      `${another}mul of f32[B, 4, T, S] where the sum has exp`
    ),
    "of two bases": over(
      s.op("exp2", scores),
      sum(e),
      `${another}exp2 of f32[B, 4, T, S] where the sum has exp`
    ),
    "squared above": over(s.mul(e, e), sum(e), `${another}mul of f32[B, 4, T, S] where the sum has exp`),
    "a temperature above only": over(
      s.exp(s.mul(scores, gate)),
      sum(e),
      `${another}mul of f32[B, 4, T, S] where the sum has dot`
    ),
    "the sum of all keys but one": refused(
      usedEven(s.div(exponentials, sum(s.slice(exponentials, 3, 0, 5)))),
      quotient,
      `${another}exp of f32[B, 4, 6, 6] where the sum has slice of f32[B, 4, 6, 5]`
    ),
    "the sum of the next head": over(
      e,
      sum(roll(e, 1)),
      `${another}exp of f32[B, 4, T, S] where the sum has concat`
    ),
    "dropped out with factors of any sign": over(
      s.mul(e, gate),
      sum(s.mul(e, gate)),
      "the exponentials go through `mul` before they are summed"
    ),
    "their mean": over(e, s.div(sum(e), s.constant(5)), "the sum of the exponentials goes through `div`"),
    "the square of their sum": over(
      e,
      s.mul(sum(e), sum(e)),
      "the sum of the exponentials goes through `mul`"
    ),
    "the root of their sum": over(e, s.op("sqrt", sum(e)), "the sum of the exponentials goes through `sqrt`"),
    "their sum less one": over(e, s.sub(sum(e), one), "the sum of the exponentials goes through `sub`"),
    "their sum and a number of each query": over(
      e,
      s.add(sum(e), s.input("r", ["T", 1])),
      "the sum of the exponentials goes through `add`"
    ),
    "their sum and that of others": over(
      e,
      s.add(sum(e), sum(s.exp(others))),
      "the sum of the exponentials goes through `add`"
    ),
    "at least ten": over(
      e,
      s.op("max", sum(e), s.constant(10)),
      "the sum of the exponentials goes through `max`"
    ),
    "their running sum": over(e, cumsum(e, 3), "the exponentials are divided by cumsum of f32[B, 4, T, S]"),
    "their greatest": over(e, max(e), "the exponentials are divided by reduce_max of f32[B, 4, T]"),
    "their product": over(
      e,
      s.reshape(node("reduce_prod", [e], { axes: [3] }), ["B", 4, "T", 1]),
      "the exponentials are divided by reduce_prod of f32[B, 4, T]"
    )
  })
})

describe("log-sum-exp of others", () => {
  const less = (lse: s.N, failed: string) => refused(used(s.exp(s.sub(scores, lse))), logSum, failed)
  hold({
    "of other scores": less(
      row(s.logsumexp(others)),
      "these have dot of f32[B, 4, T, S] where it has another dot"
    ),
    "of shifted scores, not shifted back": less(
      row(s.logsumexp(s.sub(scores, max(scores)))),
      "these have dot of f32[B, 4, T, S] where it has sub of f32[B, 4, T, S]"
    ),
    "of masked scores": less(
      row(s.logsumexp(s.select(causal, scores, s.constant(-Infinity)))),
      "these have dot of f32[B, 4, T, S] where it has select of f32[B, 4, T, S]"
    ),
    "twice it": less(s.mul(row(s.logsumexp(scores)), s.constant(2)), "but goes through `mul`"),
    added: refused(used(s.exp(s.add(scores, row(s.logsumexp(scores))))), logSum, "but goes through `add`"),
    "along the columns": refused(
      used(s.exp(s.sub(scores, s.reshape(s.logsumexp(scores, 2), ["B", 4, 1, "S"])))),
      weights,
      "the softmax normalises axis 2"
    )
  })
})

describe("division after the values", () => {
  const over = (below: s.N, failed: string) => refused(s.div(used(e), below), late, failed)
  const another = "the sum is not of the exponentials that were contracted: these have "
  hold({
    "by the sum of other scores": over(
      sum(s.exp(others)),
      `${another}dot of f32[B, 4, T, S] where the sum has another dot`
    ),
    "by the sum of the masked": over(
      sum(kept(e)),
      `${another}exp of f32[B, 4, T, S] where the sum has select`
    ),
    "by the sum of the next head": over(
      sum(roll(e, 1)),
      `${another}exp of f32[B, 4, T, S] where the sum has concat`
    ),
    "by their greatest": over(max(e), "the values are divided by reduce_max of f32[B, 4, T]"),
    "by the sums of columns": refused(
      s.div(usedEven(exponentials), s.swap(sum(exponentials, 2))),
      late,
      "the sum is over axis 2 of f32[B, 4, 6, 6] and divides as f32[B, 4, 6, 1]"
    ),
    "by the sums of rows, along the features": refused(
      s.div(usedEven(exponentials), s.swap(sum(exponentials))),
      late,
      "the sum is over axis 3 of f32[B, 4, 6, 6] and divides as f32[B, 4, 1, 6]"
    ),
    "by the sum of all heads": over(sum(e, 1, 3), "the sum is over axis 1, 3 of f32[B, 4, T, S]")
  })
})

describe("sums that normalise", () => {
  hold({
    "shifted by the maximum of other scores": fuses(normalised(shifted(max(others)))),
    "shifted by the maximum of everything": fuses(normalised(shifted(max(scores, 0, 1, 2, 3)))),
    "shifted by a number of each query": fuses(normalised(shifted(s.input("r", ["T", 1])))),
    "shifted by a number of each key": fuses(normalised(shifted(s.input("r", ["S"]))), "score"),
    "shifted by maxima of columns": refused(
      normalised(shifted(max(scores, 2))),
      attention,
      "the scores are changed by reduce_max, which is computed from the scores themselves"
    ),
    "masked above, all of the row below": fuses(s.div(used(kept(e)), sum(e)), "probability"),
    "masked above and below": fuses(s.div(used(kept(e)), sum(kept(e))), "mask"),
    "one more below": fuses(used(s.div(e, s.add(sum(e), one))), "sink"),
    "a number of each key less": fuses(used(s.div(shifted(gate), sum(shifted(gate)))), "score")
  })
})
