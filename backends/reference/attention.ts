import type { Graph } from "../../ir/Graph.ts"
import { negligibleBelow, parts } from "../../ir/ops/flashAttention.ts"
import type { Kernels } from "./Kernel.ts"
import { maximum } from "./normalise.ts"
import * as Region from "./region.ts"
import { storing, type Value } from "./Value.ts"

/** A contraction of queries with keys: its value for one pair, by row of the result and by batch, query head and key. */
const contraction = (q: Value, k: Value): ((row: number, b: number, h: number, j: number) => number) => {
  const [, heads, , D] = q.shape as [number, number, number, number]
  const [batch, own, S] = k.shape as [number, number, number]
  const group = heads / own
  return (row, b, h, j) => {
    const keys = ((batch === 1 ? 0 : b) * own + Math.floor(h / group)) * S
    const [x, y] = [row * D, (keys + j) * D]
    let sum = 0
    for (let d = 0; d < D; d++) sum += (q.data[x + d] as number) * (k.data[y + d] as number)
    return sum
  }
}

/** Attention by its definition, a row of scores at a time. What mask analysis found (`range`, `rowRange`) is not used. */
export const attention: Kernels<"flash_attention"> = {
  flash_attention: ({ attrs }, operands, shape, context) => {
    const { v, terms, captures } = parts(operands, attrs)
    const [{ q }] = terms as [(typeof terms)[number]]
    const [B, Hq, T] = q.shape as [number, number, number, number]
    const [, Hkv, S, E] = v.shape as [number, number, number, number]
    const group = Hq / Hkv
    const compile = (region: Graph | undefined): Region.Compiled | undefined =>
      region && Region.compile(region, captures, context)
    const score = Region.compile(attrs.score, captures, context)
    const [mask, sink, probability] = [attrs.mask, attrs.sink, attrs.probability].map(compile)
    const real = q.dtype === "f64" ? "f64" : "f32"
    const store = storing(real, context.precision)
    const fill = store(attrs.fill)
    const logits = terms.map((term) => contraction(term.q, term.k))
    const normalised = attrs.normaliser === undefined

    const result = new Float64Array(shape.reduce((a, b) => a * b, 1))
    const scores = new Float64Array(S)
    const hidden = new Uint8Array(S)
    const sums = new Float64Array(E)
    for (let b = 0; b < B; b++) {
      for (let h = 0; h < Hq; h++) {
        const keys = (b * Hkv + Math.floor(h / group)) * S
        for (let i = 0; i < T; i++) {
          const row = (b * Hq + h) * T + i
          for (let j = 0; j < S; j++) {
            hidden[j] = mask?.(b, h, i, j)[0] === 0 ? 1 : 0
            if (hidden[j] === 1) {
              scores[j] = fill
              continue
            }
            scores[j] = score(...logits.map((logit) => store(logit(row, b, h, j))), b, h, i, j)[0] as number
          }
          const extra = sink === undefined ? -Infinity : (sink(b, h, i)[0] as number)
          const max = Math.max(maximum(scores), extra)
          let total = 0
          if (normalised && max !== -Infinity) {
            total = Math.exp(extra - max)
            for (let j = 0; j < S; j++) total += Math.exp((scores[j] as number) - max)
          }
          if (attrs.output === "max") {
            result[row] = max
            continue
          }
          if (attrs.output === "sum") {
            result[row] = total
            continue
          }
          if (attrs.output === "lse") {
            result[row] = Math.abs(max) === Infinity ? max : max + Math.log(total)
            continue
          }
          if (normalised && max === -Infinity) continue
          // NaN where the sum of weights is.
          sums.fill(S === 0 ? 0 : 0 * total)
          const isNegligible = !normalised || max > negligibleBelow(fill, real)
          for (let j = 0; j < S; j++) {
            // What takes no part has no effect, whatever its value is.
            if ((normalised && scores[j] === -Infinity) || (isNegligible && hidden[j] === 1)) continue
            let weight = normalised
              ? store(Math.exp((scores[j] as number) - max) / total)
              : (scores[j] as number)
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
