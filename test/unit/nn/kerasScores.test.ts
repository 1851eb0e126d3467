import { describe, expect, it } from "vitest"
import * as nn from "../../../src/nn/index.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { prepare } from "../../support/nn/face.ts"
import { at, bound, build, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [B, T, S, D, E] = [2, 4, 3, 5, 2]
const [q, k, v] = [randomDense(1, [B, T, D]), randomDense(2, [B, S, D]), randomDense(3, [B, S, E])]
const queryMask = [1, 0, 1, 1, 0, 1, 1, 1]
const valueMask = [1, 1, 0, 0, 1, 1]

type Score = (p: { readonly [name: string]: Dense }, b: number, i: number, j: number) => number

const features = (f: (d: number) => number): number =>
  Array.from({ length: D }, (_, d) => f(d)).reduce((a, b) => a + b, 0)

const dot: Score = (_p, b, i, j) => features((d) => at(q, b, i, d) * at(k, b, j, d))
const bent: Score = (p, b, i, j) =>
  features((d) => (p.scale ? at(p.scale, d) : 1) * Math.tanh(at(q, b, i, d) + at(k, b, j, d)))

/** Softmax over visible keys, rows of queries that take no part 0. */
const loops = (score: (b: number, i: number, j: number) => number, masked: boolean) => {
  const seen = (b: number, i: number, j: number) => !masked || (valueMask[b * S + j] === 1 && j <= i)
  const weights = build([B, T, S], (b, i, j) => {
    const power = (n: number): number => (seen(b, i, n) ? Math.exp(score(b, i, n)) : 0)
    const sum = power(0) + power(1) + power(2)
    // A row that sees no key is the mean of the values.
    return sum === 0 ? 1 / S : power(j) / sum
  })
  const out = build([B, T, E], (b, i, e) =>
    masked && queryMask[b * T + i] === 0
      ? 0
      : [0, 1, 2].reduce((x, j) => x + at(weights, b, i, j) * at(v, b, j, e), 0)
  )
  return { weights, out }
}

const layers = {
  "Attention: products": [nn.keras.Attention({ dtype: "f64" }), dot],
  "Attention: products by a learned factor": [
    nn.keras.Attention({ useScale: true, dtype: "f64" }),
    (p, b, i, j) => at(p.scale as Dense) * dot(p, b, i, j)
  ],
  "Attention: sums": [
    nn.keras.Attention({ scoreMode: "concat", dtype: "f64" }),
    (p, b, i, j) => at(p.concat_score_weight as Dense) * bent({}, b, i, j)
  ],
  "Attention: sums by a learned factor": [
    nn.keras.Attention({ scoreMode: "concat", useScale: true, dtype: "f64" }),
    (p, b, i, j) => {
      const scaled = (d: number) => at(p.scale as Dense) * (at(q, b, i, d) + at(k, b, j, d))
      return at(p.concat_score_weight as Dense) * features((d) => Math.tanh(scaled(d)))
    }
  ],
  "AdditiveAttention: sums by learned factors": [
    nn.keras.AdditiveAttention({ features: D, dtype: "f64" }),
    bent
  ],
  "AdditiveAttention: sums": [
    nn.keras.AdditiveAttention({ features: D, useScale: false, dtype: "f64" }),
    bent
  ]
} satisfies { readonly [name: string]: readonly [unknown, Score] }

describe("keras attention without projections", () => {
  it.each(Object.entries(layers))("%s", (_, [layer, score]) => {
    const { values, bounds, give, apply } = prepare(layer as (typeof layers)["Attention: sums"][0])
    const [query, key, value] = [q, k, v].map((x) => give(bound("f64", x))) as [
      Tensor.Tensor,
      Tensor.Tensor,
      Tensor.Tensor
    ]
    const call = { query, key, value, returnAttentionScores: true }
    const masks = {
      queryMask: give(bound("bool", dense([B, T], queryMask))),
      valueMask: give(bound("bool", dense([B, S], valueMask))),
      useCausalMask: true
    }
    for (const masked of [false, true]) {
      const expected = loops((b, i, j) => score(values, b, i, j), masked)
      const { out, scores } = apply(masked ? { ...call, ...masks } : call)
      expectDense(run(out, bounds), expected.out)
      expectDense(run(scores as Tensor.Tensor, bounds), expected.weights)
    }
    expect(apply({ query, key, value }).scores).toBeUndefined()
  })

  it("drops weights in training only, and takes the value for the key", () => {
    const { bounds, give, apply } = prepare(nn.keras.Attention({ dropout: 0.5, seed: 3, dtype: "f64" }))
    const query = give(bound("f64", q))
    const call = { query, value: query, returnAttentionScores: true }
    const kept = run(apply(call).scores as Tensor.Tensor, bounds)
    expectDense(run(apply({ ...call, key: query }).scores as Tensor.Tensor, bounds), kept)
    const dropped = run(apply({ ...call, training: true }).scores as Tensor.Tensor, bounds)
    expect(dropped.data.some((w) => w === 0)).toBe(true)
    dropped.data.forEach((w, n) => {
      if (w !== 0) expect(w).toBeCloseTo(2 * (kept.data[n] as number), 12)
    })
  })
})
