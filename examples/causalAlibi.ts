import { define, Mask, Score, spec, Tensor } from "../src/index.ts"

/**
 * A causal self-attention layer with ALiBi (Press, Smith & Lewis 2022): projections, 4 heads of size 8, output projection.
 * B batch, T positions; both are symbols, bound by each call.
 */
export const layer = define(
  ({ x, wq, wk, wv, wo }) => {
    const heads = (w: typeof wq) =>
      Tensor.matmul(x, w).pipe(Tensor.reshape(["B", "T", 4, 8]), Tensor.swapAxes(1, 2))
    const [q, k, v] = [heads(wq), heads(wk), heads(wv)]
    return Tensor.matmul(q, Tensor.transpose(k)).pipe(
      Tensor.mul(1 / Math.sqrt(8)),
      Score.alibi(4),
      Mask.apply(Mask.causal),
      Tensor.softmax(-1),
      Tensor.matmul(v),
      Tensor.swapAxes(1, 2),
      Tensor.reshape(["B", "T", 32]),
      Tensor.matmul(wo)
    )
  },
  {
    x: spec("f32", ["B", "T", 32]),
    wq: spec("f32", [32, 32]),
    wk: spec("f32", [32, 32]),
    wv: spec("f32", [32, 32]),
    wo: spec("f32", [32, 32])
  }
)
