import type { Graph } from "../../ir/Graph.ts"
import type { Kernels } from "./Kernel.ts"
import { maximum } from "./normalise.ts"
import * as Region from "./region.ts"
import { storing, type Value } from "./Value.ts"

/** Attention by its definition, a row of scores at a time. What mask analysis found (`range`) is not used. */
export const attention: Kernels<"flash_attention"> = {
  flash_attention: ({ attrs }, operands, shape, context) => {
    const [q, k, v, ...captures] = operands as [Value, Value, Value, ...Array<Value>]
    const [B, Hq, T, D] = q.shape as [number, number, number, number]
    const [, Hkv, S, E] = v.shape as [number, number, number, number]
    const group = Hq / Hkv
    const compile = (region: Graph | undefined): Region.Compiled | undefined =>
      region && Region.compile(region, captures, context)
    const score = Region.compile(attrs.score, captures, context)
    const [mask, sink, probability] = [attrs.mask, attrs.sink, attrs.probability].map(compile)
    const store = storing(q.dtype === "f64" ? "f64" : "f32", context.precision)
    const fill = store(attrs.fill)

    const result = new Float64Array(shape.reduce((a, b) => a * b, 1))
    const scores = new Float64Array(S)
    const sums = new Float64Array(E)
    for (let b = 0; b < B; b++) {
      for (let h = 0; h < Hq; h++) {
        const keys = (b * Hkv + Math.floor(h / group)) * S
        for (let i = 0; i < T; i++) {
          const row = (b * Hq + h) * T + i
          for (let j = 0; j < S; j++) {
            if (mask !== undefined && mask(b, h, i, j)[0] === 0) {
              scores[j] = fill
              continue
            }
            let logit = 0
            const [x, y] = [row * D, (keys + j) * D]
            for (let d = 0; d < D; d++) logit += (q.data[x + d] as number) * (k.data[y + d] as number)
            scores[j] = score(store(logit), b, h, i, j)[0] as number
          }
          const extra = sink === undefined ? -Infinity : (sink(b, h, i)[0] as number)
          const max = Math.max(maximum(scores), extra)
          let total = 0
          if (max !== -Infinity) {
            total = Math.exp(extra - max)
            for (let j = 0; j < S; j++) total += Math.exp((scores[j] as number) - max)
          }
          if (attrs.output === "lse") {
            result[row] = max === -Infinity ? -Infinity : max + Math.log(total)
            continue
          }
          if (max === -Infinity) continue
          sums.fill(0)
          for (let j = 0; j < S; j++) {
            if (scores[j] === -Infinity) continue
            let weight = Math.exp((scores[j] as number) - max) / total
            if (probability !== undefined) weight *= probability(b, h, i, j)[0] as number
            const value = (keys + j) * E
            for (let e = 0; e < E; e++) sums[e] = (sums[e] as number) + weight * (v.data[value + e] as number)
          }
          result.set(sums, row * E)
        }
      }
    }
    return result
  }
}
