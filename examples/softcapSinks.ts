import { Attention, define, spec } from "../src/index.ts"

/**
 * Capped logits and attention sinks by the ready-made helper: logits go through 30 * tanh(x / 30), and each of the 6 query
 * heads has one logit more, whose weight goes nowhere. 2 key/value heads, causal, both ends aligned.
 */
export const attention = define(
  ({ q, k, v, sinks }) =>
    Attention.scaledDotProductAttention(q, k, v, { mask: "causal", softcap: 30, sinks }),
  {
    q: spec("f32", ["B", 6, "T", 8]),
    k: spec("f32", ["B", 2, "S", 8]),
    v: spec("f32", ["B", 2, "S", 8]),
    sinks: spec("f32", [6])
  }
)
