import { define, spec, Tensor } from "../../src/index.ts"
import type { Exhibit } from "./exhibit.ts"

/**
 * Weights f(logit), which need not add up to 1, by way of softmax: it divides by a sum, and the log-sum-exp knows which. `offset` keeps
 * what the logarithm sees above 0.
 */
export const activated = (
  logits: Tensor.Tensor<"f32">,
  v: Tensor.Tensor<"f32">,
  f: (x: Tensor.Tensor<"f32">) => Tensor.Tensor,
  offset: number
) => {
  const scores = Tensor.log(Tensor.add(f(logits), offset))
  const mean = Tensor.matmul(Tensor.softmax(scores, -1), v)
  const total = Tensor.exp(Tensor.logSumExp(scores, -1, { keepDims: true }))
  return Tensor.sub(Tensor.mul(mean, total), Tensor.mul(Tensor.sum(v, -2, { keepDims: true }), offset))
}

const definition = define(
  ({ q, k, v }) => {
    const logits = Tensor.mul(Tensor.matmul(q, Tensor.transpose(k)), 1 / Math.sqrt(8))
    return activated(logits as Tensor.Tensor<"f32">, v, Tensor.gelu, 0.25)
  },
  { q: spec("f32", ["B", 2, "T", 8]), k: spec("f32", ["B", 2, "T", 8]), v: spec("f32", ["B", 2, "T", 8]) },
  { requireFused: true }
)

/** Logits that grow from row to row and from key to key. */
const slope = (factor: number) =>
  Array.from({ length: 2 * 16 * 8 }, (_, n) => (n % 8 === 0 ? factor * ((Math.floor(n / 8) % 16) - 5) : 0))

export const attention = {
  ...definition,
  about:
    "Weights gelu(logit), by the softmax of log(gelu(logit) + 1/4), undone. attention-gym, activation_score_mod",
  lengths: { B: 1, T: 16 },
  data: { q: slope(0.4), k: slope(0.4) }
} as unknown as Exhibit
