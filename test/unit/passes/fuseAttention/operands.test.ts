import { describe, expect, test } from "vitest"
import { k, q, scores, sizes, v } from "../../../support/heads.ts"
import type { N } from "../../../support/spell.ts"
import * as s from "../../../support/spell.ts"
import { fuses, half, k2, scale, v2 } from "./fuses.ts"

describe("scale", () => {
  const on = {
    none: s.matmul(q, s.swap(k)),
    "q * s": s.matmul(s.mul(q, scale), s.swap(k)),
    "s * q": s.matmul(s.mul(scale, q), s.swap(k)),
    "q / s": s.matmul(s.div(q, s.constant(4)), s.swap(k)),
    "k * s": s.matmul(q, s.swap(s.mul(k, scale))),
    "kT * s": s.matmul(q, s.mul(s.swap(k), scale)),
    both: s.matmul(s.mul(q, half), s.mul(s.swap(k), half)),
    "scores * s": s.mul(scores, scale),
    "scores / s": s.div(scores, s.constant(4)),
    "a runtime scalar": s.mul(scores, s.input("scale", [])),
    "a scalar of shape [1, 1, 1, 1]": s.matmul(s.mul(q, s.input("scale", [1, 1, 1, 1])), s.swap(k)),
    "square root of a length": s.div(scores, s.op("sqrt", s.cast(s.constant(8, "i32"), "f32")))
  }
  for (const [name, x] of Object.entries(on)) test(name, () => void fuses(s.matmul(s.softmax(x), v)))
})

describe("transposed keys and layouts", () => {
  const bshd = {
    q: s.input("q", ["B", "T", 4, 8]),
    k: s.input("k", ["B", "S", 4, 8]),
    v: s.input("v", ["B", "S", 4, 8])
  }
  const out = {
    swap: s.matmul(s.softmax(scores), v),
    permute: s.matmul(s.softmax(s.matmul(q, s.permute(k, 0, 1, 3, 2))), v),
    "permute straight from BSHD": s.permute(
      s.matmul(
        s.softmax(s.matmul(s.permute(bshd.q, 0, 2, 1, 3), s.permute(bshd.k, 0, 2, 3, 1))),
        s.permute(bshd.v, 0, 2, 1, 3)
      ),
      0,
      2,
      1,
      3
    ),
    "einsum over BSHD": s.einsum(
      "bhqk,bkhd->bqhd",
      s.softmax(s.einsum("bqhd,bkhd->bhqk", bshd.q, bshd.k)),
      bshd.v
    ),
    "einsum, keys first": s.einsum(
      "bkhd,bhqk->bqhd",
      bshd.v,
      s.softmax(s.einsum("bkhd,bqhd->bhqk", bshd.k, bshd.q))
    ),
    "einsum with heads last": s.einsum(
      "bqkh,bkhd->bqhd",
      s.softmax(s.einsum("bqhd,bkhd->bqkh", bshd.q, bshd.k), 2),
      bshd.v
    ),
    "(K Qᵀ)ᵀ": s.matmul(s.softmax(s.swap(s.matmul(k, s.swap(q)))), v),
    "softmax over rows of K Qᵀ": s.einsum("bhkq,bhkd->bhqd", s.softmax(s.matmul(k, s.swap(q)), 2), v),
    "3-D": s.matmul(
      s.softmax(s.matmul(s.input("q", ["N", "T", 8]), s.swap(s.input("k", ["N", "S", 8])))),
      s.input("v", ["N", "S", 8])
    ),
    "2-D": s.matmul(
      s.softmax(s.matmul(s.input("q", ["T", 8]), s.swap(s.input("k", ["S", 8])))),
      s.input("v", ["S", 8])
    ),
    "(B·H, S, D) from BHSD": s.reshape(
      s.matmul(
        s.softmax(s.matmul(s.reshape(q, ["N", "T", 8]), s.swap(s.reshape(k, ["N", "S", 8])))),
        s.reshape(v, ["N", "S", 8])
      ),
      ["B", 4, "T", 8]
    ),
    "SBHD (T, B·H, D)": s.einsum(
      "nqk,knd->qnd",
      s.softmax(s.einsum("qnd,knd->nqk", s.input("q", ["T", 8, 8]), s.input("k", ["S", 8, 8]))),
      s.input("v", ["S", 8, 8])
    ),
    "heads split from features": s.reshape(
      s.permute(
        s.matmul(
          s.softmax(
            s.matmul(
              s.permute(s.reshape(s.input("q", ["B", "T", 32]), ["B", "T", 4, 8]), 0, 2, 1, 3),
              s.permute(s.reshape(s.input("k", ["B", "S", 32]), ["B", "S", 4, 8]), 0, 2, 3, 1)
            )
          ),
          s.permute(s.reshape(s.input("v", ["B", "S", 32]), ["B", "S", 4, 8]), 0, 2, 1, 3)
        ),
        0,
        2,
        1,
        3
      ),
      ["B", "T", 32]
    ),
    "scores reshaped between": s.matmul(
      s.reshape(s.softmax(s.reshape(scores, ["B", 2, 2, "T", "S"])), ["B", 4, "T", "S"]),
      v
    ),
    "no query length": s.einsum(
      "bhk,bhkd->bhd",
      s.softmax(s.einsum("bhd,bhkd->bhk", s.input("q", ["B", 4, 8]), k)),
      v
    ),
    "other value size": s.matmul(s.softmax(scores), s.input("v", ["B", 4, "S", 3]))
  }
  for (const [name, x] of Object.entries(out)) test(name, () => void fuses(x, { ...sizes, N: 8 }))
})

describe("expanded heads", () => {
  const attend = (wideK: N, wideV: N) => s.matmul(s.softmax(s.matmul(q, s.swap(wideK))), wideV)
  const slices = (x: N) => s.concat(1, ...[0, 0, 1, 1].map((h) => s.slice(x, 1, h, h + 1)))
  const pairs = (x: N) =>
    s.reshape(s.concat(2, ...[0, 1].map(() => s.reshape(x, ["B", 2, 1, "S", 8]))), ["B", 4, "S", 8])
  const computed = s.op("floor_div", s.iota(4), s.constant(2, "i32"))
  const qg = s.reshape(q, ["B", 2, 2, "T", 8])
  const ways = {
    "broadcast and reshape": attend(s.repeatHeads(k2, 2), s.repeatHeads(v2, 2)),
    "keys transposed before": s.matmul(
      s.softmax(
        s.matmul(
          q,
          s.reshape(s.broadcast(s.reshape(s.swap(k2), ["B", 2, 1, 8, "S"]), ["B", 2, 2, 8, "S"]), [
            "B",
            4,
            8,
            "S"
          ])
        )
      ),
      s.repeatHeads(v2, 2)
    ),
    "concat of slices": attend(slices(k2), slices(v2)),
    "concat on a new axis": attend(pairs(k2), pairs(v2)),
    "gather at constants": attend(
      s.gather(k2, s.constants([0, 0, 1, 1]), 1),
      s.gather(v2, s.constants([0, 0, 1, 1]), 1)
    ),
    "gather at computed heads": attend(s.gather(k2, computed, 1), s.gather(v2, computed, 1)),
    "grouped einsum": s.reshape(
      s.einsum("bkgts,bksd->bkgtd", s.softmax(s.einsum("bkgtd,bksd->bkgts", qg, k2)), v2),
      ["B", 4, "T", 8]
    ),
    "grouped matmul over a size-1 axis": s.reshape(
      s.matmul(
        s.softmax(s.matmul(qg, s.swap(s.broadcast(s.reshape(k2, ["B", 2, 1, "S", 8]), ["B", 2, 2, "S", 8])))),
        s.broadcast(s.reshape(v2, ["B", 2, 1, "S", 8]), ["B", 2, 2, "S", 8])
      ),
      ["B", 4, "T", 8]
    ),
    "grouped scores, expanded values": s.matmul(
      s.reshape(s.softmax(s.einsum("bkgtd,bksd->bkgts", qg, k2)), ["B", 4, "T", "S"]),
      s.repeatHeads(v2, 2)
    ),
    "one key head for all": s.einsum(
      "bhts,bsd->bhtd",
      s.softmax(s.einsum("bhtd,bsd->bhts", q, s.input("k", ["B", "S", 8]))),
      s.input("v", ["B", "S", 8])
    ),
    "one key head for all, heads after queries": s.einsum(
      "bths,bsd->bthd",
      s.softmax(s.einsum("bthd,bsd->bths", s.input("q", ["B", "T", 4, 8]), s.input("k", ["B", "S", 8]))),
      s.input("v", ["B", "S", 8])
    ),
    "interleaved heads, by the order they are in": attend(s.concat(1, k2, k2), s.concat(1, v2, v2))
  }
  for (const [name, x] of Object.entries(ways)) {
    test(name, () => {
      const { node } = fuses(x)
      const [B, Hkv] = (node.operands[1] as N).type.shape
      expect([B?.key, Hkv?.key]).toEqual(name.startsWith("one key") ? ["B", "1"] : ["B", "2"])
    })
  }
})
