import * as s from "../spell.ts"
import {
  attend,
  becomes,
  columns,
  grouped,
  hide,
  k,
  q,
  scale,
  scores,
  type Table,
  v,
  v2,
  zero
} from "./words.ts"

/** Scores of several contractions. */

const qr = s.input("qr", ["B", 4, "T", 4])
const kr = s.input("kr", ["B", "S", 4])
/** A part of the logit whose keys all heads share. */
export const rope = s.einsum("bhtd,bsd->bhts", qr, kr)
const wide = s.broadcast(s.reshape(kr, ["B", 1, "S", 4]), ["B", 4, "S", 4])
const pair = (name: string, size: number): s.N =>
  s.matmul(s.input(`q${name}`, ["B", 4, "T", size]), s.swap(s.input(`k${name}`, ["B", 4, "S", size])))
/** q kᵀ as a product of [.., T, 1, D] and [.., 1, S, D], and its sum. */
const products = (a: s.N, b: s.N): s.N =>
  columns(s.mul(s.reshape(a, ["B", 4, "T", 1, 8]), s.reshape(b, ["B", 4, 1, "S", 8])), 4)
const S = s.Dim.from("S")

/** x[.., i, j] at j - i + T - 1, by the views of Transformer-XL. */
const skewed = (x: s.N): s.N => {
  const padded = s.concat(3, s.broadcast(zero, ["B", 4, "T", 1]), x)
  const long = s.Dim.add(S, s.Dim.one)
  return s.reshape(s.slice(s.reshape(padded, ["B", 4, long, "T"]), 2, 1, long), ["B", 4, "T", "S"])
}

export const logits: Table = {
  "a part with one head for all (MLA)": becomes(
    attend(hide(s.mul(s.add(s.matmul(q, s.swap(k)), rope), scale))),
    ["result x2"]
  ),
  "the part first, its keys expanded": becomes(
    attend(s.add(s.matmul(qr, s.swap(wide)), s.matmul(q, s.swap(k)))),
    ["result x2"]
  ),
  "a part over grouped heads": becomes(attend(s.add(grouped, rope), s.repeatHeads(v2, 2)), ["result x2"]),
  "a bilinear bias, multiplied": becomes(attend(s.mul(scores, s.op("sigmoid", pair("b", 3)))), ["result x2"]),
  "content and positions (u and w added to the queries)": becomes(
    attend(
      s.add(
        s.matmul(s.add(q, s.reshape(s.input("u", [4, 8]), [4, 1, 8])), s.swap(k)),
        s.einsum(
          "bhtd,hsd->bhts",
          s.add(q, s.reshape(s.input("w", [4, 8]), [4, 1, 8])),
          s.input("r", [4, "S", 8])
        )
      )
    ),
    ["result x2"]
  ),
  three: becomes(
    attend(
      s.add(
        s.add(scores, rope),
        s.einsum("bhtd,hsd->bhts", s.input("qp", ["B", 4, "T", 3]), s.input("kp", [4, "S", 3]))
      )
    ),
    ["result x3"]
  ),
  "factors of each on its own logit": becomes(
    attend(
      s.add(
        s.matmul(s.mul(q, scale), s.swap(k)),
        s.einsum("bhtd,bsd->bhts", s.mul(qr, s.constant(0.5)), s.mul(kr, scale))
      )
    ),
    ["result x2"]
  ),
  "five: one is read from memory": becomes(
    attend(["a", "b", "c", "d"].map((name) => pair(name, 2)).reduce(s.add, scores)),
    ["result x4"],
    1
  ),
  "keys for each query are read from memory (Shaw's relative keys)": becomes(
    attend(s.add(scores, s.einsum("bhtd,tsd->bhts", q, s.input("r", ["T", "S", 8])))),
    ["result"],
    1
  ),
  "relative logits, skewed (Transformer-XL)": becomes(
    attend(s.add(scores, skewed(s.einsum("bhtd,hsd->bhts", q, s.input("r", [4, "S", 8]))))),
    ["result"],
    1
  ),
  "less another softmax (differential attention)": becomes(
    s.matmul(s.sub(s.softmax(hide(scores)), s.mul(s.input("lambda", []), s.softmax(pair("2", 8)))), v),
    ["result", "result"]
  ),
  "less another, contracted by itself": becomes(
    s.sub(attend(scores), s.mul(s.input("lambda", []), attend(pair("2", 8)))),
    ["result", "result"]
  ),
  "one softmax or the other, by position": becomes(
    s.matmul(
      s.select(s.op("lt", s.iota("S"), s.constant(2, "i32")), s.softmax(scores), s.softmax(pair("2", 8))),
      v
    ),
    ["result", "result"]
  ),
  "a product and its sum for a contraction": becomes(attend(products(q, k))),
  "both as products and sums": becomes(
    columns(
      s.mul(
        s.reshape(s.softmax(hide(products(q, k))), ["B", 4, "T", "S", 1]),
        s.reshape(v, ["B", 4, 1, "S", 6])
      ),
      3
    )
  ),
  "two streams of values, joined": becomes(
    s.concat(3, attend(hide(scores)), attend(hide(scores), s.input("points", ["B", 4, "S", 12]))),
    ["result", "result"]
  )
}
