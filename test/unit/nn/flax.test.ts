import { describe, expect, it } from "vitest"
import * as Attention from "../../../src/Attention.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { attend, type Steps } from "../../support/nn/attend.ts"
import { prepare } from "../../support/nn/face.ts"
import { parametersOf } from "../../support/nn/kernels.ts"
import {
  at,
  type Bound,
  bound,
  type Dense,
  dense,
  expectDense,
  randomDense,
  run
} from "../../support/tensors.ts"

const [B, T, S, F] = [2, 4, 5, 8]
const most = -1.7976931348623157e308

const mask = dense(
  [B, 4, T, S],
  randomDense(24, [B, 4, T, S]).data.map((x) => (x > -0.3 ? 1 : 0))
)

interface Case {
  readonly options?: Partial<nn.flax.Options>
  readonly inputs?: (give: (x: Bound) => Tensor.Tensor) => Partial<nn.flax.Inputs>
  readonly steps?: (p: { readonly [name: string]: Dense }) => Steps
}

const cases: { readonly [name: string]: Case } = {
  defaults: {},
  "key/value heads, other sizes, no bias": {
    options: { numKvHeads: 2, qkvFeatures: 12, outFeatures: 5, inKvFeatures: 7, useBias: false }
  },
  "a mask of numbers, 1 takes part": {
    inputs: (give) => ({ mask: give(bound("f64", mask)) }),
    steps: () => ({ fill: most, visible: (b, h, i, j) => at(mask, b, h, i, j) === 1 })
  },
  causal: {
    inputs: () => ({ isCausal: true }),
    steps: () => ({ fill: most, visible: (_b, _h, i, j) => j <= i })
  },
  "queries and keys normalised": {
    options: { normalizeQk: true },
    steps: (p) => ({
      turn: (head, _, of) => {
        const mean = head.reduce((a, b) => a + b, 0) / head.length
        const variance = head.reduce((a, b) => a + (b - mean) ** 2, 0) / head.length
        const scale = p[`${of}_ln.scale`] as Dense
        return head.map((x, d) => ((x - mean) / Math.sqrt(variance + 1e-6)) * at(scale, d))
      }
    })
  },
  "an attention function of one's own": {
    options: { attentionFn: (q, k, v, options) => Attention.stages(q, k, v, { ...options, scale: 0.3 }) },
    steps: () => ({ scale: 0.3 })
  }
}

describe("flax.MultiHeadAttention", () => {
  it.each(Object.entries(cases))("%s", (_, { options = {}, inputs, steps }) => {
    const layer = nn.flax.MultiHeadAttention({ numHeads: 4, inFeatures: F, dtype: "f64", ...options })
    const { values, bounds, give, apply } = prepare(layer)
    const FK = options.inKvFeatures ?? F
    const [q, k, v] = [
      randomDense(1, [B, T, F]),
      randomDense(2, [B, S, FK]),
      randomDense(3, [B, S, FK])
    ] as const
    const [inputsQ, inputsK, inputsV] = [q, k, v].map((x) => give(bound("f64", x))) as [
      Tensor.Tensor,
      Tensor.Tensor,
      Tensor.Tensor
    ]
    const { out, weights } = apply({ inputsQ, inputsK, inputsV, sowWeights: true, ...inputs?.(give) })
    const expected = attend(
      parametersOf(values, "out"),
      [q, k, v],
      [4, options.numKvHeads ?? 4],
      steps?.(values)
    )
    expectDense(run(out, bounds), expected.out)
    expectDense(run(weights as Tensor.Tensor, bounds), expected.weights)
  })

  it("takes any batch axes, and a mask over them", () => {
    const { values, bounds, give, apply } = prepare(
      nn.flax.MultiHeadAttention({ numHeads: 4, inFeatures: F, dtype: "f64" })
    )
    const q = randomDense(1, [B, 3, T, F])
    const wide = dense(
      [B, 1, 1, T, T],
      randomDense(25, [B, T, T]).data.map((x) => (x > -0.3 ? 1 : 0))
    )
    const { out } = apply({ inputsQ: give(bound("f64", q)), mask: give(bound("bool", wide)) })
    const flat = dense([B * 3, T, F], q.data)
    const expected = attend(parametersOf(values, "out"), [flat, flat, flat], [4, 4], {
      fill: most,
      visible: (b, _h, i, j) => at(wide, Math.floor(b / 3), 0, 0, i, j) === 1
    })
    expectDense(run(out, bounds), dense([B, 3, T, F], expected.out.data))
  })

  it("decodes token by token what it computes at once", () => {
    const options = { numHeads: 4, numKvHeads: 2, inFeatures: F, dtype: "f64", decode: true } as const
    const { bounds, give, apply } = prepare(nn.flax.MultiHeadAttention(options))
    const x = randomDense(1, [B, T, F])
    const whole = run(apply({ inputsQ: give(bound("f64", x)), isCausal: true, decode: false }).out, bounds)
    const first = nn.flax.initCache(options, B, 6)
    let cache = [first.key, first.value, first.length].map((t) => run(t))
    for (let t = 0; t < T; t++) {
      const row = dense(
        [B, 1, F],
        [0, 1].flatMap((b) => Array.from({ length: F }, (_, f) => at(x, b, t, f)))
      )
      const own = [
        bound("f64", row),
        bound("f64", cache[0] as Dense),
        bound("f64", cache[1] as Dense),
        bound("i32", cache[2] as Dense)
      ]
      const [inputsQ, key, value, length] = own.map((b) => b.tensor) as [
        Tensor.Tensor,
        Tensor.Tensor,
        Tensor.Tensor,
        Tensor.Tensor
      ]
      const step = apply({ inputsQ, cache: { key, value, length } })
      const all = [...bounds, ...own]
      const out = run(step.out, all)
      expectDense(
        out,
        dense(
          [B, 1, F],
          [0, 1].flatMap((b) => Array.from({ length: F }, (_, f) => at(whole, b, t, f)))
        )
      )
      cache = [step.cache?.key, step.cache?.value, step.cache?.length].map((c) =>
        run(c as Tensor.Tensor, all)
      )
    }
    expect(cache[2]?.data).toEqual([T, T])
  })

  it("says which flag is missing, and lets the call's beat the layer's", () => {
    const make = (options: Partial<nn.flax.Options>) => {
      const made = prepare(
        nn.flax.MultiHeadAttention({ numHeads: 4, inFeatures: F, dtype: "f64", ...options })
      )
      return { ...made, x: made.give(bound("f64", randomDense(1, [B, T, F]))) }
    }
    const dropping = make({ dropoutRate: 0.5 })
    expect(() => dropping.apply({ inputsQ: dropping.x })).toThrow(/No `deterministic` argument/)
    const fixed = make({ dropoutRate: 0.5, deterministic: true })
    const still = run(fixed.apply({ inputsQ: fixed.x }).out, fixed.bounds)
    const moved = run(fixed.apply({ inputsQ: fixed.x, deterministic: false, rngs: 4 }).out, fixed.bounds)
    expect(moved.data).not.toEqual(still.data)
    expect(() => fixed.apply({ inputsQ: fixed.x, inputsV: fixed.x })).toThrow(/inputsK cannot be absent/)
    expect(() => fixed.apply({ inputsQ: fixed.x, decode: true })).toThrow(/decode needs a cache/)
    const cache = nn.flax.initCache({ numHeads: 4, inFeatures: F, dtype: "f64" }, B, 6)
    expect(() => fixed.apply({ inputsQ: fixed.x, decode: true, cache })).toThrow(/one token at a time/)
    expect(() => nn.flax.MultiHeadAttention({ numHeads: 3, inFeatures: 8 })).toThrow(/must be divisible/)
  })

  it("draws dropout once for all batch entries and heads unless told otherwise", () => {
    const zeros = (broadcastDropout: boolean | undefined): ReadonlyArray<string> => {
      const seen: Array<Tensor.Tensor> = []
      const { bounds, give, apply } = prepare(
        nn.flax.MultiHeadAttention({
          numHeads: 4,
          inFeatures: F,
          dtype: "f64",
          dropoutRate: 0.5,
          deterministic: false,
          ...(broadcastDropout === undefined ? {} : { broadcastDropout }),
          attentionFn: (q, k, v, options) => {
            const stages = Attention.stages(q, k, v, options)
            seen.push(stages.kept)
            return stages
          }
        })
      )
      apply({ inputsQ: give(bound("f64", randomDense(1, [B, T, F]))), rngs: 9 })
      const kept = run(seen[0] as Tensor.Tensor, bounds)
      const size = T * T
      return Array.from({ length: B * 4 }, (_, n) =>
        kept.data
          .slice(n * size, (n + 1) * size)
          .map((x) => (x === 0 ? "0" : "1"))
          .join("")
      )
    }
    expect(new Set(zeros(undefined)).size).toBe(1)
    expect(new Set(zeros(false)).size).toBe(B * 4)
  })
})

describe("masks", () => {
  it("makeAttentionMask, makeCausalMask, combineMasks", () => {
    const [q, k] = [
      bound("i32", dense([2, 3], [1, 1, 0, 1, 1, 1])),
      bound("i32", dense([2, 2], [1, 0, 1, 1]))
    ]
    const padding = nn.flax.makeAttentionMask(q.tensor, k.tensor)
    expect(run(padding, [q, k])).toMatchObject({
      shape: [2, 1, 3, 2],
      data: [1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    })
    const causal = nn.flax.makeCausalMask(k.tensor)
    expect(run(causal, [k])).toMatchObject({ shape: [2, 1, 2, 2], data: [1, 0, 1, 1, 1, 0, 1, 1] })
    const own = nn.flax.makeAttentionMask(k.tensor, k.tensor)
    const both = nn.flax.combineMasks(causal, undefined, own) as Tensor.Tensor
    expect(run(both, [k]).data).toEqual([1, 0, 0, 0, 1, 0, 1, 1])
    expect(nn.flax.combineMasks(undefined)).toBeUndefined()
    expect(() => nn.flax.combineMasks(causal, Tensor.squeeze(own, 1) as Tensor.Tensor)).toThrow(
      /same rank: 4, 3/
    )
  })
})
