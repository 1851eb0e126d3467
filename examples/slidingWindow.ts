import { Mask, spec, Tensor, type TensorsOf } from "../src/index.ts"

/**
 * Grouped-query attention, causal, each query seeing the 64 keys before it and itself. B batch, T queries, S keys: symbols, bound by
 * each call. 9 query heads share 3 key/value heads of size 8.
 */
export const signature = {
  q: spec("f32", ["B", 9, "T", 8]),
  k: spec("f32", ["B", 3, "S", 8]),
  v: spec("f32", ["B", 3, "S", 8])
}

/** Written as the paper writes it: nothing here says "fuse". */
export const fn = ({ q, k, v }: TensorsOf<typeof signature>) =>
  Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, 3))).pipe(
    Tensor.mul(1 / Math.sqrt(8)),
    Mask.apply(Mask.and(Mask.causal, Mask.slidingWindow(64))),
    Tensor.softmax(-1),
    Tensor.matmul(Tensor.repeatHeads(v, 3))
  )

export const attention = { fn, signature }
