import { describe, expect, test } from "vitest"
import * as Print from "../../../ir/Print.ts"
import { unfuseAttention } from "../../../passes/unfuseAttention.ts"
import { expectSameValue, isViewOfInput, nodesOf, through, toFusion } from "../../support/fusing.ts"
import { k, minusInfinity, q, sizes, v, zero } from "../../support/heads.ts"
import type { N } from "../../support/spell.ts"
import * as s from "../../support/spell.ts"

const scores = s.mul(s.matmul(q, s.swap(k)), s.constant(0.25))
const causal = s.op("ge", s.reshape(s.iota("T"), ["T", 1]), s.reshape(s.iota("S"), [1, "S"]))
const keep = s.input("keep", ["B", 1, 1, "S"], "bool")

/** The passes in front of fusion and fusion leave one node, no exponential outside it, and the same value. */
const fuses = (out: N) => {
  const before = s.graph(out)
  const { graph, diagnostics } = through(before, ...toFusion)
  expect(
    diagnostics.map((d) => d.failed ?? d.outcome),
    Print.graph(graph)
  ).toEqual(["fused"])
  expect(nodesOf(graph, "flash_attention").length).toBe(1)
  for (const op of ["softmax", "dot", "exp", "reduce_sum", "reduce_max", "div"] as const)
    expect(nodesOf(graph, op), Print.graph(graph)).toEqual([])
  const node = nodesOf(graph, "flash_attention")[0]
  for (const operand of node?.operands.slice(0, 3) ?? []) expect(isViewOfInput(operand)).toBe(true)
  expectSameValue(before, graph, sizes)
  expectSameValue(before, through(graph, unfuseAttention).graph, sizes)
  return node
}

const shifted = (x: N) => s.exp(s.sub(x, s.reduce("reduce_max", x)))
const normalised = (e: N) => s.div(e, s.reduce("reduce_sum", e))
const log2e = s.constant(Math.LOG2E)

describe("softmax", () => {
  const masked = s.select(causal, scores, minusInfinity)
  const guarded = s.reduce("reduce_max", masked)
  const finite = s.select(s.op("is_inf", guarded), zero, guarded)
  const sum = (x: N) => s.reduce("reduce_sum", x)
  const lse = s.reshape(s.logsumexp(scores), ["B", 4, "T", 1])
  const f32 = (x: N) => s.cast(x, "f32")
  const h = { q: s.cast(q, "f16"), k: s.cast(k, "f16") }
  const half = s.mul(s.matmul(h.q, s.swap(h.k)), s.constant(0.25, "f16"))
  const safe = s.select(
    s.reshape(
      s.op("not", s.reshape(s.op("gt", s.reduce("reduce_max", masked), minusInfinity), ["B", 4, "T", 1])),
      ["B", 4, "T", 1]
    ),
    zero,
    s.softmax(masked)
  )
  const e = shifted(scores)
  const two = s.op("exp2", s.sub(s.mul(scores, log2e), s.reduce("reduce_max", s.mul(scores, log2e))))
  const weights = {
    "max-shifted": normalised(e),
    "without max": normalised(s.exp(scores)),
    "times the reciprocal": s.mul(e, s.div(s.constant(1), sum(e))),
    "max-shifted, masked": normalised(shifted(masked)),
    "max guarded against -inf": normalised(s.exp(s.sub(masked, finite))),
    "sum guarded against 0": s.div(
      shifted(masked),
      s.select(s.op("eq", sum(shifted(masked)), zero), s.constant(1), sum(shifted(masked)))
    ),
    "base 2": normalised(two),
    "base 2, scale folded in": normalised(
      s.op("exp2", s.sub(s.mul(scores, log2e), s.mul(s.reduce("reduce_max", scores), log2e)))
    ),
    "exp(x - lse)": s.exp(s.sub(scores, lse)),
    "exp of log-softmax": s.exp(s.sub(s.sub(scores, s.reduce("reduce_max", scores)), s.op("log", sum(e)))),
    "m + log of the sum": s.exp(s.sub(scores, s.add(s.reduce("reduce_max", scores), s.op("log", sum(e))))),
    "safe softmax": safe,
    "NaN to 0": s.select(s.op("is_nan", s.softmax(masked)), zero, s.softmax(masked)),
    "max subtracted, then the op": s.softmax(s.sub(scores, s.reduce("reduce_max", scores))),
    "weights masked after exp": normalised(s.select(causal, s.exp(scores), zero)),
    "weights multiplied by a mask": normalised(s.mul(s.exp(scores), s.cast(causal, "f32"))),
    "f32 exponential, cast before the division": s.cast(normalised(shifted(f32(half))), "f32"),
    "one more in the sum": s.div(s.exp(scores), s.add(s.constant(1), sum(s.exp(scores)))),
    "quiet softmax, shifted": s.div(e, s.add(sum(e), s.exp(s.op("neg", s.reduce("reduce_max", scores))))),
    "a sink in the sum": s.div(
      e,
      s.add(sum(e), s.exp(s.sub(s.reshape(s.input("sink", [4]), [4, 1, 1]), s.reduce("reduce_max", scores))))
    )
  }
  for (const [name, p] of Object.entries(weights)) {
    test(name, () => {
      const before = s.graph(s.matmul(p, v))
      const { graph, diagnostics } = through(before, ...toFusion)
      expect(
        diagnostics.map((d) => d.failed ?? d.outcome),
        Print.graph(graph)
      ).toEqual(["fused"])
      expect(nodesOf(graph, "exp"), Print.graph(graph)).toEqual([])
      // The plain graph makes NaN of rows without keys; causal masks leave each row its own key.
      expectSameValue(before, graph, sizes)
    })
  }
  test("division after the values", () => void fuses(s.div(s.matmul(e, v), sum(e))))
  test("division after the values, by the reciprocal", () =>
    void fuses(s.mul(s.matmul(e, v), s.div(s.constant(1), sum(e)))))
  test("division after the values, dropout between", () => {
    fuses(s.div(s.matmul(s.mul(e, s.input("dropout", ["B", 4, "T", "S"])), v), sum(e)))
  })
  test("division after BSHD values", () => {
    const bthd = s.permute(s.matmul(e, v), 0, 2, 1, 3)
    fuses(s.div(bthd, s.permute(sum(e), 0, 2, 1, 3)))
  })
})

describe("masks", () => {
  const attend = (x: N) => s.matmul(s.softmax(x), v)
  const one = s.constant(1)
  const float = (x: N) => s.cast(x, "f32")
  const ways: { readonly [name: string]: readonly [N, number | "score"] } = {
    "(1 - keep) · -1e9": [s.add(scores, s.mul(s.sub(one, float(keep)), s.constant(-1e9))), "score"],
    "(keep - 1) · 1e9": [s.add(scores, s.mul(s.sub(float(keep), one), s.constant(1e9))), "score"],
    "minus 1e4 · drop": [s.sub(scores, s.mul(float(s.op("not", keep)), s.constant(1e4))), "score"],
    "(1 - keep) · -inf": [s.add(scores, s.select(keep, zero, minusInfinity)), -Infinity],
    "three in a row": [
      s.select(
        keep,
        s.select(
          causal,
          s.select(s.op("lt", s.iota("S"), s.constant(4, "i32")), scores, minusInfinity),
          minusInfinity
        ),
        minusInfinity
      ),
      -Infinity
    ],
    "two finite fills in a row": [
      s.select(keep, s.select(causal, scores, s.constant(-1e9)), s.constant(-1e9)),
      -1e9
    ],
    "drop in front of keep": [
      s.select(s.op("not", keep), minusInfinity, s.select(causal, scores, minusInfinity)),
      -Infinity
    ],
    "additive causal and padding": [
      s.add(s.add(scores, s.select(causal, zero, minusInfinity)), s.select(keep, zero, minusInfinity)),
      -Infinity
    ]
  }
  for (const [name, [x, fill]] of Object.entries(ways)) {
    test(name, () => {
      const node = fuses(attend(x))
      expect(node?.attrs.fill).toBe(fill === "score" ? -Infinity : fill)
      expect(node?.attrs.mask === undefined).toBe(fill === "score")
    })
  }
})
