import * as s from "../spell.ts"
import {
  attend,
  becomes,
  columns,
  float,
  grouped,
  half,
  hide,
  late,
  scores,
  type Table,
  v,
  v2
} from "./words.ts"

/** What is asked of attention beside its result. */

const x = hide(scores, late)
const p = s.softmax(x)
const sinks = s.broadcast(s.reshape(s.input("sinks", [4]), [1, 4, 1, 1]), ["B", 4, "T", 1])
const beside = s.slice(s.softmax(s.concat(3, x, sinks)), 3, 0, "S")
const dropped = s.mul(s.softmax(scores), float(s.input("kept", ["B", 4, "T", "S"], "bool")))
const wide = s.softmax(grouped)
const filled = s.softmax(s.select(late, grouped, s.constant(-1e9)))
const [qh, kh, vh] = [half("q", "B", 2, "T", 8), half("k", "B", 2, "S", 8), half("v", "B", 2, "S", 8)]
const narrow = s.softmax(s.matmul(qh, s.swap(kh)))
const rounded = s.cast(s.softmax(s.cast(s.matmul(qh, s.swap(kh)), "f32")), "f16")
const capped = s.op("tanh", scores)

const weights = (own: s.N, values: s.N) =>
  becomes({ out: s.matmul(own, values), own }, ["result", "max", "sum"])

export const statistics: Table = {
  "maximum and log-sum-exp of the same attention": becomes(
    { out: attend(x), lse: s.logsumexp(x), max: s.reduce("reduce_max", x) },
    ["result", "lse", "max"]
  ),
  "a log-sum-exp alone": becomes(s.logsumexp(hide(grouped)), ["lse"]),
  "a maximum alone": becomes(s.reduce("reduce_max", x), ["max"]),
  "both alone": becomes({ lse: s.logsumexp(scores), max: s.reduce("reduce_max", scores) }, ["lse", "max"]),
  "scores that are in memory anyway": becomes({ lse: s.logsumexp(scores), scores }, []),
  "raw, capped and masked scores": becomes({
    out: attend(hide(capped)),
    scores,
    capped,
    masked: hide(capped)
  })
}

export const weightsOut: Table = {
  "weights, masked": weights(p, v),
  "weights, with a finite fill, grouped": weights(filled, s.repeatHeads(v2, 2)),
  "weights of f16": weights(narrow, vh),
  "weights rounded to f16": weights(rounded, vh),
  "weights beside a sink": weights(beside, v),
  "weights that were dropped": weights(dropped, v)
}

export const averages: Table = {
  "weights averaged over heads": becomes({ out: attend(x), mean: s.mul(columns(p, 1), s.constant(0.25)) }, [
    "result",
    "max",
    "sum"
  ]),
  "weights of groups averaged over heads": becomes(
    { out: attend(grouped, s.repeatHeads(v2, 2)), mean: s.mul(columns(wide, 1), s.constant(0.25)) },
    ["result", "max", "sum"]
  )
}

export const sums: Table = {
  "sums over queries, beside attention (H2O)": becomes({ out: attend(x), sums: columns(p) }, [
    "result",
    "max",
    "sum",
    "none"
  ]),
  "sums over queries alone": becomes(columns(p), ["max", "sum", "none"]),
  "of squared weights": becomes(columns(s.mul(wide, wide)), ["max", "sum", "none"]),
  "over queries and the heads of a group": becomes(columns(s.reshape(wide, ["B", 2, 2, "T", "S"]), 2, 3), [
    "max",
    "sum",
    "none"
  ]),
  "of weights that somebody reads": becomes({ out: attend(x), p, sums: columns(p) }, [
    "result",
    "max",
    "sum"
  ]),
  "over the keys": becomes({ out: attend(x), sums: columns(p, 3) }, ["result", "max", "sum", "none"])
}
