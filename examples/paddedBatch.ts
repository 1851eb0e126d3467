import { define, Mask, spec, Tensor } from "../src/index.ts"

/**
 * A batch of texts of different lengths: what comes after `lengths[b]` is padding, which nobody sees. An entry of length 0 has
 * no key at all, and its rows are 0. 2 heads of size 8, not causal.
 */
export const attention = define(
  ({ q, k, v, lengths }) =>
    Tensor.matmul(q, Tensor.transpose(k)).pipe(
      Tensor.mul(1 / Math.sqrt(8)),
      Mask.apply(Mask.padding(lengths)),
      Tensor.softmax(-1),
      Tensor.matmul(v)
    ),
  {
    q: spec("f32", ["B", 2, "T", 8]),
    k: spec("f32", ["B", 2, "T", 8]),
    v: spec("f32", ["B", 2, "T", 8]),
    lengths: spec("i32", ["B"])
  }
)
