import { describe, expect, test } from "vitest"
import { expectSameValue } from "../../../support/fusing.ts"
import * as s from "../../../support/spell.ts"
import {
  attention,
  causal,
  compiled,
  flashes,
  fuses,
  fusesTwice,
  gate,
  hold,
  k,
  k2,
  minusInfinity,
  others,
  p,
  q,
  q2,
  refused,
  scores,
  sum,
  v,
  weights,
  zero
} from "./nearMiss.ts"

const used = (w: s.N): s.N => s.matmul(w, v)
const attend = (x: s.N): s.N => used(s.softmax(x))
const p2 = s.softmax(others)
const v2 = s.input("v2", ["B", 4, "S", 8])
const third = s.matmul(q, s.swap(k2))
const five = [s.matmul(q2, s.swap(k)), third, others, s.matmul(q, s.swap(s.input("k3", ["B", 4, "S", 8])))]

/** Where several softmaxes or several logits are one step away from what one node, or a sum of them, computes. */
describe("several softmaxes", () => {
  hold({
    "multiplied by each other": refused(
      used(s.mul(p, p2)),
      weights,
      "the weights are multiplied by themselves"
    ),
    "the greater of two": refused(used(s.op("max", p, p2)), weights, "the weights go through `max`"),
    "in a ratio": refused(used(s.div(p, p2)), weights, "the weights go through `div`"),
    "less each other, and a number": refused(
      used(s.add(s.sub(p, p2), s.constant(0.1))),
      weights,
      "a term is added to the weights"
    ),
    "less each other, kept where positive": refused(
      used(s.op("max", s.sub(p, p2), zero)),
      weights,
      "the weights go through `max`"
    ),
    "the first where it is greater": refused(
      used(s.select(s.op("gt", p, p2), p, zero)),
      weights,
      "the weights choose between values"
    ),
    "one over the queries": refused(
      used(s.sub(p, s.softmax(others, 2))),
      weights,
      "the softmax normalises axis 2 of f32[B, 4, T, S]"
    ),
    "one of whose scores is no contraction": refused(
      used(s.sub(p, s.softmax(s.input("scores", ["B", 4, "T", "S"])))),
      "softmax over scores that no contraction makes",
      "no contraction of queries with keys makes the scores"
    ),
    "times its own scores": refused(
      used(s.sub(s.mul(p, scores), p2)),
      weights,
      "the weights are multiplied by a function of the scores"
    ),
    "each of its own keys, side by side": refused(
      s.matmul(s.concat(3, p, p2), s.concat(2, v, v2)),
      weights,
      "the softmax runs over S columns and the values over 2*S"
    ),
    "one over the keys of both": refused(
      s.matmul(s.softmax(s.concat(3, scores, third)), s.concat(2, v, v2)),
      attention,
      "but the softmax runs over 2*S keys"
    ),
    "less each other": fusesTwice(used(s.sub(p, p2)), "probability"),
    "less each other, by a factor that all scores decide": fusesTwice(
      used(s.sub(p, s.mul(s.op("sigmoid", sum(s.mul(scores, gate))), p2))),
      "probability"
    ),
    "less each other, by a factor of each pair": fusesTwice(used(s.sub(p, s.mul(gate, p2))), "probability"),
    "one masked after it was taken": fusesTwice(used(s.sub(p, s.select(causal, p2, zero))), "probability"),
    "a softmax less itself": fuses(used(s.sub(s.mul(p, s.constant(3)), p)), "probability")
  })
})

/** A node knows the sums of its own rows, which may be more or fewer than those that somebody asks for. */
describe("log-sum-exp of other rows", () => {
  const alone = s.matmul(s.input("q", ["B", 4, 1, 8]), s.swap(k))
  const shared = s.matmul(s.input("q", ["B", "T", 8]), s.swap(s.input("k", ["B", "S", 8])))
  const even = s.matmul(s.input("q", ["B", 4, 6, 8]), s.swap(s.input("k", ["B", 4, "S", 8])))
  hold({
    "of scores that all heads share": fuses({
      out: s.einsum("bts,bhsd->bhtd", s.softmax(shared), v),
      lse: s.logsumexp(shared)
    }),
    "of one query, whose weights all rows have": fuses({
      out: s.matmul(s.broadcast(s.softmax(alone), ["B", 4, 3, "S"]), v),
      lse: s.logsumexp(alone)
    }),
    "of all queries, where the values see some": fuses({
      out: s.matmul(s.slice(s.softmax(even), 2, 2, 6), v),
      lse: s.logsumexp(even)
    })
  })
})

describe("several logits", () => {
  hold({
    "multiplied by each other": fuses(attend(s.mul(scores, others)), "score"),
    "the greater of two": fuses(attend(s.op("max", scores, third)), "score"),
    "one as the mask of the other": fuses(
      attend(s.select(s.op("gt", others, zero), scores, minusInfinity)),
      "score"
    ),
    "one whose keys the query chooses": fuses(
      attend(s.add(scores, s.einsum("bhtd,tsd->bhts", q, s.input("r", ["T", "S", 8])))),
      "score"
    ),
    "one of other heads": fuses(
      attend(s.add(scores, s.reshape(s.einsum("bgtd,bgsd->bts", q2, k2), ["B", 1, "T", "S"]))),
      "score"
    ),
    "five of them": fuses(attend(five.reduce(s.add, scores)), "score"),
    "one that is normalised": refused(
      attend(s.add(scores, s.mul(others, sum(scores)))),
      attention,
      "the scores are changed by reduce_sum, which is computed from the scores themselves"
    ),
    "one that both sides' keys make": fuses(
      attend(s.add(scores, s.einsum("bhtsd,bhsd->bhts", s.input("queries", ["B", 4, "T", "S", 8]), k))),
      "score"
    )
  })
})

test("keys that are grouped stay grouped beside others that are not: those scores are read", () => {
  const [kh, vh] = [s.input("kh", ["B", 2, "S", 8]), s.input("vh", ["B", 2, "S", 8])]
  const grouped = s.matmul(q, s.swap(s.repeatHeads(kh, 2)))
  const before = s.graph(s.matmul(s.softmax(s.add(grouped, others)), s.repeatHeads(vh, 2)))
  const { graph } = compiled(before)
  const [flash] = flashes(graph)
  expect(flash?.operands.slice(0, 3).map((x) => x.type.shape[1]?.key)).toEqual(["4", "2", "2"])
  expectSameValue(before, graph, { B: 2, T: 3, S: 5 })
})
