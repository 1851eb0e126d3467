import { describe, expect, test } from "vitest"
import * as Print from "../../../../ir/Print.ts"
import { expectSameValue } from "../../../support/fusing.ts"
import * as s from "../../../support/spell.ts"
import {
  attention,
  compiled,
  every,
  flashes,
  flip,
  fuses,
  hold,
  k,
  made,
  madeByNone,
  p,
  padded,
  pEven,
  q,
  refused,
  roll,
  scores,
  even as scores6,
  square,
  v,
  weights
} from "./nearMiss.ts"

const attend = (keys: s.N, values: s.N = v): s.N => s.matmul(s.softmax(s.matmul(q, s.swap(keys))), values)
const perQuery = (keys: s.N): s.N => s.matmul(s.softmax(s.einsum("bhtd,bhtsd->bhts", q, keys)), v)
const rowsAndColumns = s.add(s.reshape(s.iota("T"), ["T", 1]), s.iota("S"))
const pairs = s.Dim.mul(s.Dim.from("T"), s.Dim.from("S"))

describe("another axis", () => {
  hold({
    "softmax over the queries": refused(
      s.matmul(s.softmax(scores, 2), v),
      weights,
      "the softmax normalises axis 2"
    ),
    "softmax over the heads": refused(
      s.matmul(s.softmax(scores, 1), v),
      weights,
      "the softmax normalises axis 1"
    ),
    "softmax over the batch": refused(
      s.matmul(s.softmax(scores, 0), v),
      weights,
      "the softmax normalises axis 0"
    ),
    "softmax over queries and keys at once": refused(
      s.matmul(s.reshape(s.softmax(s.reshape(scores, ["B", 4, pairs])), ["B", 4, "T", "S"]), v),
      weights,
      "the softmax normalises axis 2 of f32[B, 4, S*T]"
    ),
    "softmax over heads and keys at once": refused(
      s.matmul(
        s.permute(
          s.reshape(
            s.softmax(
              s.reshape(s.permute(scores, 0, 2, 1, 3), ["B", "T", s.Dim.mul(s.Dim.from(4), s.Dim.from("S"))])
            ),
            ["B", "T", 4, "S"]
          ),
          0,
          2,
          1,
          3
        ),
        v
      ),
      weights,
      "the softmax normalises axis 2 of f32[B, T, 4*S]"
    ),
    "weights transposed": refused(
      s.matmul(s.swap(pEven), square("v")),
      weights,
      "the softmax normalises axis 3"
    ),
    "weights reshaped where they should be transposed": refused(
      s.matmul(s.reshape(p, ["B", 4, "S", "T"]), q),
      weights,
      "but the contraction sums over another axis of the weights"
    ),
    "weights contracted over the queries": refused(
      s.einsum("bhts,bhtd->bhsd", p, q),
      weights,
      "the softmax normalises axis 3"
    ),
    "weights contracted over the heads": refused(
      s.einsum("bhts,bhsd->btsd", p, v),
      weights,
      "sums over another axis"
    ),
    "weights contracted over heads and keys": refused(
      s.einsum("bhts,bhsd->btd", p, v),
      weights,
      "sums over another axis of the weights"
    ),
    "weights contracted over queries and keys": refused(
      s.einsum("bhts,bhtsd->bhd", p, s.input("vq", ["B", 4, "T", "S", 8])),
      weights,
      "sums over another axis of the weights"
    ),
    "weights times values without a sum": refused(
      s.einsum("bhts,bhsd->bhtsd", p, v),
      weights,
      "sums over no axis of the weights"
    ),
    "every other weight": refused(
      s.matmul(every(pEven, 3, 2), s.input("v", ["B", 4, 3, 6])),
      weights,
      "sums over another axis of the weights"
    ),
    "heads mixed after the softmax": refused(
      s.permute(s.einsum("bhts,hg->btsg", p, s.input("w", [4, 4])), 0, 3, 1, 2),
      weights,
      "sums over another axis of the weights"
    ),
    "values for half of the keys": refused(
      s.matmul(
        s.slice(
          s.softmax(
            s.matmul(q, s.swap(s.input("k", ["B", 4, s.Dim.mul(s.Dim.from(2), s.Dim.from("S")), 8])))
          ),
          3,
          0,
          "S"
        ),
        v
      ),
      weights,
      "the softmax runs over 2*S columns and the values over S"
    ),
    "five columns without values": refused(
      s.matmul(
        s.slice(s.softmax(s.concat(3, scores6, s.input("sinks", ["B", 4, 6, 5]))), 3, 0, 6),
        square("v")
      ),
      weights,
      "the softmax runs over 11 columns and the values over 6"
    ),
    "a weight of 0 behind": refused(
      s.matmul(s.concat(3, pEven, s.broadcast(s.constant(0), ["B", 4, 6, 1])), s.input("v", ["B", 4, 7, 6])),
      weights,
      "the softmax runs over 6 columns and the values over 7"
    ),
    "a weight for each query and key, summed over keys and another axis": refused(
      s.einsum(
        "bhtsr,bhsre->bhte",
        s.broadcast(
          s.reshape(s.reshape(s.softmax(s.reshape(scores6, ["B", 4, 36])), ["B", 4, 6, 6]), [
            "B",
            4,
            6,
            6,
            1
          ]),
          ["B", 4, 6, 6, 6]
        ),
        s.input("v", ["B", 4, 6, 6, 3])
      ),
      weights,
      "sums over another axis of the weights"
    ),
    "a weight of 0 in front": refused(
      s.matmul(padded(pEven, 0), s.input("v", ["B", 4, 7, 6])),
      weights,
      "the softmax runs over 6 columns and the values over 7"
    )
  })
})

describe("sides that know too much", () => {
  hold({
    "keys for each query": refused(
      perQuery(s.input("keys", ["B", 4, "T", "S", 8])),
      attention,
      "the keys or the values depend on the query index"
    ),
    "keys gathered for each query": refused(
      perQuery(s.gather(k, s.input("index", ["T", "S"], "i32"), 2)),
      attention,
      "depend on the query index"
    ),
    "keys rolled by the query": refused(
      perQuery(s.gather(k, s.op("mod", rowsAndColumns, s.constant(5, "i32")), 2)),
      attention,
      "depend on the query index"
    ),
    "heads of keys chosen by the query": refused(
      perQuery(
        s.gather(k, s.op("mod", s.add(s.reshape(s.iota(4), [4, 1]), s.iota("T")), s.constant(4, "i32")), 1)
      ),
      attention,
      "depend on the query index"
    ),
    "keys with a term of each query": refused(
      perQuery(s.add(s.reshape(k, ["B", 4, 1, "S", 8]), s.input("term", ["B", 4, "T", 1, 8]))),
      attention,
      "depend on the query index"
    ),
    "queries that know the key": refused(
      s.matmul(s.softmax(s.einsum("bhtsd,bhsd->bhts", s.input("queries", ["B", 4, "T", "S", 8]), k)), v),
      made,
      "both operands of the contraction depend on the key index"
    ),
    "queries with a term of each key": refused(
      s.matmul(
        s.softmax(
          s.einsum(
            "bhtsd,bhsd->bhts",
            s.add(s.reshape(q, ["B", 4, "T", 1, 8]), s.input("term", ["B", 4, 1, "S", 8])),
            k
          )
        ),
        v
      ),
      made,
      "both operands of the contraction depend on the key index"
    ),
    "scores reshaped where they should be transposed": refused(
      s.matmul(s.softmax(s.reshape(scores, ["B", 4, "S", "T"])), q),
      made,
      "both operands of the contraction depend on the key index"
    ),
    "scores shifted by the row, as in Transformer-XL": refused(
      s.matmul(
        s.softmax(
          s.reshape(
            s.slice(
              s.reshape(padded(s.matmul(square("q"), s.swap(square("r"))), 0), ["B", 4, 7, 6]),
              2,
              1,
              7
            ),
            ["B", 4, 6, 6]
          )
        ),
        square("v")
      ),
      made,
      "both operands of the contraction depend on the key index"
    ),
    "heads mixed before the softmax": refused(
      s.matmul(s.softmax(s.permute(s.einsum("bhts,hg->btsg", scores, s.input("w", [4, 4])), 0, 3, 1, 2)), v),
      attention,
      "depend on the query index"
    ),
    "attention over features": refused(
      s.matmul(s.softmax(q), s.matmul(s.swap(k), v)),
      madeByNone,
      "no contraction of queries with keys"
    )
  })
})

/** Each is attention over other keys or values than one thinks at a glance. */
describe("other elements, the right ones", () => {
  const [kh, vh] = [s.input("kh", ["B", 2, "S", 8]), s.input("vh", ["B", 2, "S", 8])]
  const index = s.input("index", ["S"], "i32")
  const perQuery = (name: string): s.N => s.input(name, ["B", 4, "T", "S", 8])
  hold({
    "values for each query": fuses(s.einsum("bhts,bhtsd->bhtd", p, perQuery("values"))),
    "keys and values for each query": fuses(
      s.einsum(
        "bhts,bhtsd->bhtd",
        s.softmax(s.einsum("bhtd,bhtsd->bhts", q, perQuery("keys"))),
        perQuery("values")
      )
    ),
    "keys of the next batch entry": fuses(attend(s.concat(0, s.slice(k, 0, 1, "B"), s.slice(k, 0, 0, 1)))),
    "keys of the next head": fuses(attend(roll(k, 1))),
    "keys rolled, values not": fuses(attend(roll(k, 2))),
    "keys from the last to the first, values not": fuses(attend(flip(k, 2))),
    "both from the last to the first": fuses(attend(flip(k, 2), flip(v, 2))),
    "heads from the last to the first": fuses(attend(flip(k, 1))),
    "keys by a table": fuses(attend(s.gather(k, index, 2))),
    "keys and values by two tables": fuses(
      attend(s.gather(k, index, 2), s.gather(v, s.input("other", ["S"], "i32"), 2))
    ),
    "heads by a table, values grouped": fuses(
      attend(s.gather(kh, s.input("heads", [4], "i32"), 1), s.repeatHeads(vh, 2))
    ),
    "heads by a table of numbers that is no function of h": fuses(
      attend(s.gather(kh, s.constants([1, 0, 0, 1]), 1), s.gather(vh, s.constants([0, 1, 1, 0]), 1))
    ),
    "a bias of each head, keys and values grouped": fuses(
      s.matmul(
        s.softmax(s.add(s.matmul(q, s.swap(s.repeatHeads(kh, 2))), s.input("bias", [4, "T", "S"]))),
        s.repeatHeads(vh, 2)
      ),
      "mask",
      "score"
    ),
    "a mask of each head, keys and values interleaved": fuses(
      s.matmul(
        s.softmax(
          s.select(
            s.input("keep", [4, "T", "S"], "bool"),
            s.matmul(q, s.swap(s.concat(1, kh, kh))),
            s.constant(-Infinity)
          )
        ),
        s.concat(1, vh, vh)
      ),
      "mask"
    ),
    "keys grouped, values interleaved": fuses(attend(s.repeatHeads(kh, 2), s.concat(1, vh, vh))),
    "keys interleaved, values grouped": fuses(attend(s.concat(1, kh, kh), s.repeatHeads(vh, 2))),
    "every other key, every value": fuses(
      attend(every(s.input("k", ["B", 4, 10, 8]), 2, 2), s.input("v", ["B", 4, 5, 8]))
    ),
    "the first features with the last": fuses(
      s.matmul(s.softmax(s.matmul(s.slice(q, 3, 0, 4), s.swap(s.slice(k, 3, 4, 8)))), v)
    ),
    "keys times a gain of each feature": fuses(attend(s.mul(k, s.input("gain", [8])))),
    "a gain of each feature times keys": fuses(attend(s.mul(s.input("gain", [8]), k))),
    "keys times a gain of each key": fuses(attend(s.mul(k, s.input("gain", ["S", 1])))),
    "keys over a gain of each head": fuses(attend(s.div(k, s.input("gain", [4, 1, 1])))),
    "values times a gain of each key": fuses(attend(k, s.mul(s.input("gain", ["S", 1]), v))),
    "keys reshaped where they should be transposed": fuses(
      s.matmul(s.softmax(s.matmul(q, s.reshape(k, ["B", 4, 8, "S"]))), v)
    ),
    "running sums of keys": fuses(attend(s.add(k, roll(k, 2)))),
    "heads contracted with the features": fuses(
      s.einsum("bts,bhsd->bhtd", s.softmax(s.einsum("bhtd,bhsd->bts", q, k)), v)
    )
  })
})

/** With all axes of one length every permutation type-checks: what it means is decided by what is read, never by shapes. */
describe("all permutations of four axes of one length", () => {
  const permutations = (list: ReadonlyArray<number>): ReadonlyArray<ReadonlyArray<number>> =>
    list.length < 2
      ? [list]
      : list.flatMap((x) => permutations(list.filter((y) => y !== x)).map((rest) => [x, ...rest]))
  const all = permutations([0, 1, 2, 3])
  const [a, b, c] = ["q", "k", "v"].map((name) => s.input(name, [3, 3, 3, 3])) as [s.N, s.N, s.N]
  const same = (out: s.N, fused: boolean) => {
    const before = s.graph(out)
    const { graph } = compiled(before)
    expect(flashes(graph).length, Print.graph(before)).toBe(fused ? 1 : 0)
    expectSameValue(before, graph, {})
  }
  test.each([0, 1, 2, 3])("keys, softmax over axis %i", (axis) => {
    for (const perm of all) same(s.matmul(s.softmax(s.matmul(a, s.permute(b, ...perm)), axis), c), axis === 3)
  })
  test("queries and values", () => {
    for (const perm of all) {
      same(s.matmul(s.softmax(s.matmul(s.permute(a, ...perm), s.swap(b))), c), true)
      same(s.matmul(s.softmax(s.matmul(a, s.swap(b))), s.permute(c, ...perm)), true)
    }
  })
  test("scores and weights", () => {
    for (const perm of all) {
      // What the values share with the weights selects them; the last axis but the key's must not select keys as well.
      const [rows, keys] = perm.slice(2)
      same(s.matmul(s.permute(s.softmax(s.matmul(a, s.swap(b))), ...perm), c), rows === 2 && keys === 3)
      // Either side of the contraction may hold the keys.
      const moved = s.softmax(s.permute(s.matmul(a, s.swap(b)), ...perm))
      same(s.matmul(moved, c), (rows === 2 && keys === 3) || (rows === 3 && keys === 2))
    }
  })
})
