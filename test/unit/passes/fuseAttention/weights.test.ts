import { describe, expect, test } from "vitest"
import { fuseAttention } from "../../../../passes/fuseAttention.ts"
import { unfuseAttention } from "../../../../passes/unfuseAttention.ts"
import { expectSameValue, nodesOf, through } from "../../../support/fusing.ts"
import { k, minusInfinity, q, scores, sizes, v } from "../../../support/heads.ts"
import * as s from "../../../support/spell.ts"
import { causal, fuses, half, k2, v2 } from "./fuses.ts"

describe("softmax and weights", () => {
  const f16 = {
    q: s.input("q", ["B", 4, "T", 8], "f16"),
    k: s.input("k", ["B", 4, "S", 8], "f16"),
    v: s.input("v", ["B", 4, "S", 8], "f16")
  }
  const dropped = s.select(s.input("kept", ["B", 4, "T", "S"], "bool"), s.softmax(scores), s.constant(0))
  const ways = {
    "f32 casts around": s.matmul(
      s.cast(s.softmax(s.cast(s.matmul(f16.q, s.swap(f16.k)), "f32")), "f16"),
      f16.v
    ),
    "f32 casts of the operands": s.cast(
      s.matmul(s.softmax(s.matmul(s.cast(f16.q, "f32"), s.swap(s.cast(f16.k, "f32")))), s.cast(f16.v, "f32")),
      "f16"
    ),
    "a mask cast to f16": s.matmul(
      s.softmax(s.add(s.matmul(f16.q, s.swap(f16.k)), s.cast(s.input("mask", ["T", "S"]), "f16"))),
      f16.v
    ),
    "dropout by select": s.matmul(s.mul(dropped, s.constant(1.25)), v),
    "dropout by product": s.matmul(s.mul(s.softmax(scores), s.input("kept", ["B", 4, "T", "S"])), v),
    "a gate for each row": s.matmul(s.mul(s.softmax(scores), s.input("gate", [4, "T", 1])), v),
    "NaN replaced": s.matmul(
      s.select(s.op("is_nan", s.softmax(scores)), s.constant(0), s.softmax(scores)),
      v
    ),
    "scaled values": s.matmul(s.softmax(scores), s.mul(v, s.constant(3))),
    "negated weights": s.matmul(s.op("neg", s.softmax(scores)), v),
    "weights as the second operand": s.einsum("bhsd,bhts->bhtd", v, s.softmax(scores)),
    "scores with a constant column": s.matmul(
      s.slice(s.softmax(s.concat(3, scores, s.broadcast(s.constant(0), ["B", 4, "T", 1]))), 3, 0, "S"),
      v
    ),
    sinks: s.matmul(
      s.slice(
        s.softmax(
          s.concat(
            3,
            s.select(causal, scores, minusInfinity),
            s.broadcast(s.reshape(s.input("sinks", [4]), [1, 4, 1, 1]), ["B", 4, "T", 1])
          )
        ),
        3,
        0,
        "S"
      ),
      v
    ),
    "sinks first, two of them": s.matmul(
      s.slice(
        s.softmax(
          s.concat(
            3,
            s.broadcast(s.reshape(s.input("sinks", [4, 2]), [1, 4, 1, 2]), ["B", 4, "T", 2]),
            scores
          )
        ),
        3,
        2,
        s.Dim.add(s.Dim.from("S"), s.Dim.from(2))
      ),
      v
    )
  }
  for (const [name, x] of Object.entries(ways)) test(name, () => void fuses(x))

  test("the log-sum-exp of the scores comes from the same attention", () => {
    const causalScores = s.select(causal, s.matmul(q, s.swap(s.repeatHeads(k2, 2))), minusInfinity)
    const out = s.permute(s.matmul(s.softmax(causalScores), s.repeatHeads(v2, 2)), 0, 2, 1, 3)
    const before = s.graph({ out, lse: s.logsumexp(causalScores) })
    const { graph, counts } = through(before, fuseAttention)
    expect(
      nodesOf(graph, "flash_attention")
        .map((n) => n.attrs.output)
        .sort()
    ).toEqual(["lse", "result"])
    expect([...nodesOf(graph, "dot"), ...nodesOf(graph, "logsumexp")]).toEqual([])
    expect(counts.get("sum-is-shared")).toBe(1)
    expectSameValue(before, graph, { ...sizes, S: 2 })
    expectSameValue(before, through(graph, unfuseAttention).graph, { ...sizes, S: 2 })
  })

  test("the log-sum-exp of other scores does not", () => {
    const before = s.graph({
      out: s.matmul(s.softmax(scores), v),
      lse: s.logsumexp(s.mul(scores, half)),
      other: s.logsumexp(scores, 2)
    })
    const { graph, counts } = through(before, fuseAttention)
    expect(counts.get("sum-is-shared")).toBe(undefined)
    expectSameValue(before, graph, sizes)
  })

  test("two layers", () => {
    const first = s.matmul(s.softmax(scores), v)
    const before = s.graph(s.matmul(s.softmax(s.matmul(first, s.swap(k))), s.add(v, v)))
    const { graph } = through(before, fuseAttention)
    expect(nodesOf(graph, "flash_attention").length).toBe(2)
    expectSameValue(before, graph, sizes)
  })
})
