/** Results of the cases in float64, by plain loops over the definition: what every contender is compared with. */
import * as HostArray from "../../ir/HostArray.ts"
import { alibiSlopes } from "../../src/Score.ts"
import { type Attention, type Block, blockSizes, type Case, isLookedAt, keysOf } from "./cases.ts"
import type { Inputs } from "./inputs.ts"

const numbers = (inputs: Inputs, name: string): Float64Array =>
  HostArray.toNumbers(inputs[name] as HostArray.HostArray)

/** Rows of q, k and v begin every D numbers: [heads, length, D]. Rows that nobody compares are zero. */
const attend = (
  c: Pick<Attention, "T" | "S" | "heads" | "D" | "causal" | "window" | "softcap" | "alibi">,
  q: Float64Array,
  k: Float64Array,
  v: Float64Array,
  isNeeded: (head: number, row: number) => boolean = () => true
): Float64Array => {
  const { T, S, D, softcap } = c
  const [queries, keys] = c.heads
  const slopes = c.alibi === true ? alibiSlopes(queries) : undefined
  const out = new Float64Array(queries * T * D)
  const weights = new Float64Array(S)
  for (let h = 0; h < queries; h++) {
    const base = Math.floor((h * keys) / queries) * S * D
    const slope = slopes?.[h] ?? 0
    for (let i = 0; i < T; i++) {
      if (!isNeeded(h, i)) continue
      const [lo, hi] = keysOf(c, i)
      const row = (h * T + i) * D
      let most = -Infinity
      for (let j = lo; j < hi; j++) {
        const at = base + j * D
        let dot = 0
        for (let d = 0; d < D; d++) dot += (q[row + d] as number) * (k[at + d] as number)
        dot /= Math.sqrt(D)
        if (softcap !== undefined) dot = softcap * Math.tanh(dot / softcap)
        dot += slope * (j - i)
        weights[j] = dot
        if (dot > most) most = dot
      }
      let sum = 0
      for (let j = lo; j < hi; j++) sum += weights[j] = Math.exp((weights[j] as number) - most)
      for (let j = lo; j < hi; j++) {
        const [p, at] = [(weights[j] as number) / sum, base + j * D]
        for (let d = 0; d < D; d++) (out[row + d] as number) += p * (v[at + d] as number)
      }
    }
  }
  return out
}

/** [M, K] by [K, N]. */
const multiply = (a: Float64Array, b: Float64Array, M: number, N: number, K: number): Float64Array => {
  const out = new Float64Array(M * N)
  for (let m = 0; m < M; m++)
    for (let k = 0; k < K; k++) {
      const [x, row, at] = [a[m * K + k] as number, k * N, m * N]
      for (let n = 0; n < N; n++) (out[at + n] as number) += x * (b[row + n] as number)
    }
  return out
}

/** Rows of [T, F] divided by their root mean square, times a gain. */
const rmsNorm = (x: Float64Array, gain: Float64Array): Float64Array => {
  const F = gain.length
  const out = new Float64Array(x.length)
  for (let at = 0; at < x.length; at += F) {
    let square = 0
    for (let f = 0; f < F; f++) square += (x[at + f] as number) ** 2
    const by = 1 / Math.sqrt(square / F + 1e-6)
    for (let f = 0; f < F; f++) out[at + f] = (x[at + f] as number) * by * (gain[f] as number)
  }
  return out
}

/** [T, heads · D] as [heads, T, D], pairs (d, d + D/2) turned by position · 10000^(-2d/D) where asked for. */
const split = (x: Float64Array, T: number, count: number, D: number, turn: boolean): Float64Array => {
  const out = new Float64Array(x.length)
  for (let h = 0; h < count; h++)
    for (let t = 0; t < T; t++)
      for (let d = 0; d < D / 2; d++) {
        const [from, to] = [(t * count + h) * D + d, (h * T + t) * D + d]
        const angle = turn ? t * 10000 ** ((-2 * d) / D) : 0
        const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
        const [a, b] = [x[from] as number, x[from + D / 2] as number]
        out[to] = a * cos - b * sin
        out[to + D / 2] = b * cos + a * sin
      }
  return out
}

const block = ({ T }: Block, inputs: Inputs): Float64Array => {
  const { width, heads, keyHeads, size, hidden } = blockSizes
  const w = (name: string): Float64Array => numbers(inputs, name)
  const x = w("x")
  const y = rmsNorm(x, w("attend"))
  const q = split(multiply(y, w("q"), T, heads * size, width), T, heads, size, true)
  const k = split(multiply(y, w("k"), T, keyHeads * size, width), T, keyHeads, size, true)
  const v = split(multiply(y, w("v"), T, keyHeads * size, width), T, keyHeads, size, false)
  const attended = attend({ T, S: T, heads: [heads, keyHeads], D: size, causal: true }, q, k, v)
  const together = new Float64Array(attended.length)
  for (let h = 0; h < heads; h++)
    for (let t = 0; t < T; t++)
      together.set(attended.subarray((h * T + t) * size, (h * T + t + 1) * size), (t * heads + h) * size)
  const middle = multiply(together, w("o"), T, width, heads * size).map((a, n) => a + (x[n] as number))
  const z = rmsNorm(middle, w("feed"))
  const up = multiply(z, w("up"), T, hidden, width)
  const gated = multiply(z, w("gate"), T, hidden, width).map(
    (g, n) => (g / (1 + Math.exp(-g))) * (up[n] as number)
  )
  return multiply(gated, w("down"), T, width, hidden).map((a, n) => a + (middle[n] as number))
}

export const reference = (c: Case, inputs: Inputs): Float64Array => {
  if (c.kind === "block") return block(c, inputs)
  if (c.kind === "product") return multiply(numbers(inputs, "a"), numbers(inputs, "b"), c.M, c.N, c.K)
  const [q, k, v] = ["q", "k", "v"].map((name) => numbers(inputs, name)) as [
    Float64Array,
    Float64Array,
    Float64Array
  ]
  return attend(c, q, k, v, (head, row) => isLookedAt(c, head, row))
}
