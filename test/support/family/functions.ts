import * as s from "../spell.ts"
import {
  becomes,
  causal,
  float,
  grouped,
  hide,
  late,
  row,
  scale,
  scores,
  type Table,
  v,
  v2,
  zero
} from "./words.ts"

/** Weights that are functions of scores, without a softmax. */

const sigmoid = (x: s.N): s.N => s.op("sigmoid", x)
const relu = (x: s.N): s.N => s.op("max", x, zero)
const keep = s.input("keep", ["B", 1, "T", "S"], "bool")
const position = s.cast(s.add(row, s.constant(1, "i32")), "f32")
const decay = s.exp(s.mul(scale, float(s.sub(s.iota("S"), row))))
const least = s.constant(0.5)

const weighing = (weights: s.N, node = "none") => becomes(s.matmul(weights, v), [node])

/** Those in which a mask is seen. */
export const masked: Table = {
  "sigmoid with a bias": weighing(sigmoid(s.add(scores, s.input("bias", [4, "T", "S"])))),
  "sigmoid of masked scores": weighing(sigmoid(hide(scores))),
  "relu of masked scores": weighing(relu(hide(scores))),
  "sigmoid, masked": weighing(s.select(causal, sigmoid(scores), zero)),
  "sigmoid times a mask": weighing(s.mul(sigmoid(scores), float(keep))),
  "masked twice": weighing(s.select(keep, sigmoid(hide(scores)), zero)),
  "what is dropped is named": weighing(s.select(s.op("not", keep), zero, sigmoid(scores))),
  "over the number of keys": weighing(s.div(sigmoid(hide(scores)), position)),
  "a finite fill that the function takes to 0": weighing(relu(s.select(causal, scores, s.constant(-1e9)))),
  "causal linear attention": weighing(s.mul(scores, float(causal))),
  retention: weighing(s.mul(scores, s.select(causal, decay, zero))),
  "exponentials of what is known": weighing(s.exp(s.sub(hide(scores), s.input("lse", ["B", 4, "T", 1]))))
}

const own = relu(hide(scores, late))
const total = s.add(s.reduce("reduce_sum", own), least)
const doubled = s.reshape(s.logsumexp(s.mul(scores, s.constant(2))), ["B", 4, "T", 1])

export const functions: Table = {
  ...masked,
  sigmoid: weighing(sigmoid(scores)),
  relu: weighing(relu(scores)),
  "relu, squared": weighing(s.mul(relu(scores), relu(scores))),
  "a finite fill that the function does not take to 0": weighing(
    sigmoid(s.select(causal, scores, s.constant(-1)))
  ),
  "silu, grouped": becomes(s.matmul(s.mul(grouped, sigmoid(grouped)), s.repeatHeads(v2, 2)), ["none"]),
  "two logits multiplied": weighing(
    s.mul(scores, s.matmul(s.input("q2", ["B", 4, "T", 3]), s.swap(s.input("k2", ["B", 4, "S", 3])))),
    "none x2"
  ),
  "over their own sum, after the values": becomes(s.div(s.matmul(own, v), total), ["none", "none"]),
  "over their own sum": becomes(s.matmul(s.div(own, total), v), ["none", "none"]),
  "less a log-sum-exp of their own": becomes(s.matmul(sigmoid(s.sub(scores, doubled)), v), ["lse", "none"])
}

const x = s.input("x", ["B", "T", 8])
const dense = (a: s.N, name: string, from: number, to: number): s.N =>
  s.einsum("btd,de->bte", a, s.input(name, [from, to]))
const hidden = dense(x, "w1", 8, 32)
const padding = s.reshape(s.input("pad", ["B", "S"], "bool"), ["B", 1, 1, "S"])
const heads = s.permute(s.reshape(dense(x, "wq", 8, 32), ["B", "T", 4, 8]), 0, 2, 1, 3)

/** Chains of contractions that are no attention, and stay. */
export const others: Table = {
  "a layer of hidden units": becomes(dense(relu(hidden), "w2", 32, 8), []),
  "a gated layer": becomes(dense(s.mul(sigmoid(hidden), dense(x, "w3", 8, 32)), "w2", 32, 8), []),
  "a low rank": becomes(dense(s.mul(dense(x, "a", 8, 2), scale), "b", 2, 8), []),
  "three matrices": becomes(s.matmul(scores, v), [], 1),
  "three matrices, some keys left out": becomes(s.matmul(s.mul(scores, float(padding)), v), [], 1),
  "a feature map of projected queries": becomes(s.matmul(relu(heads), s.input("kv", ["B", 4, 8, 6])), []),
  "classes are no keys": becomes(s.logsumexp(s.einsum("btd,dc->btc", x, s.input("w", [8, 100]))), [])
}
