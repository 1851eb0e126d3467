import type { HostArray } from "../../ir/HostArray.ts"

/** Elements of an array by their indices. */
export const reader =
  ({ shape, data }: HostArray) =>
  (...at: ReadonlyArray<number>): number =>
    data[at.reduce((flat, index, axis) => flat * (shape[axis] as number) + index, 0)] as number

export interface Problem {
  readonly q: HostArray
  readonly k: HostArray
  readonly v: HostArray
  /** The logit of query i and key j, given their product; -Infinity where i does not see j. */
  readonly logit: (product: number, b: number, h: number, i: number, j: number) => number
  /** One logit more for each head, without a value. */
  readonly sink?: (h: number) => number
}

/** Attention as its definition says, [B, H, T, D] by [B, H / G, S, D] and [B, H / G, S, E]. */
export const plain = ({ q, k, v, logit, sink = () => -Infinity }: Problem): HostArray<"f32"> => {
  const [B, H, T, D] = q.shape as readonly [number, number, number, number]
  const [, M, S, E] = v.shape as readonly [number, number, number, number]
  const [readQ, readK, readV] = [reader(q), reader(k), reader(v)]
  const data = new Float32Array(B * H * T * E)
  for (let row = 0; row < B * H * T; row++) {
    const [b, h, i] = [Math.floor(row / (H * T)), Math.floor(row / T) % H, row % T]
    const m = Math.floor(h / (H / M))
    const weights = Array.from({ length: S }, (_, j) => {
      let product = 0
      for (let d = 0; d < D; d++) product += readQ(b, h, i, d) * readK(b, m, j, d)
      return Math.exp(logit(product, b, h, i, j))
    })
    const sum = weights.reduce((a, w) => a + w, Math.exp(sink(h)))
    for (let e = 0; e < E && sum > 0; e++) {
      data[row * E + e] = weights.reduce((a, w, j) => a + w * readV(b, m, j, e), 0) / sum
    }
  }
  return { dtype: "f32", shape: [B, H, T, E], data }
}
