import { describe, expect, it } from "vitest"
import * as nn from "../../../src/nn/index.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { attend, type Steps } from "../../support/nn/attend.ts"
import { prepare } from "../../support/nn/face.ts"
import { parametersOf } from "../../support/nn/kernels.ts"
import {
  at,
  type Bound,
  bound,
  build,
  type Dense,
  dense,
  expectDense,
  randomDense,
  run
} from "../../support/tensors.ts"

const [B, T, S, F] = [2, 4, 5, 6]
const bools = (shape: ReadonlyArray<number>, data: ReadonlyArray<number>) => bound("bool", dense(shape, data))

const pattern = (shape: ReadonlyArray<number>, seed: number): Dense =>
  dense(
    shape,
    randomDense(seed, shape).data.map((x) => (x > -0.3 ? 1 : 0))
  )
const queryMask = pattern([B, T], 21)
const valueMask = pattern([B, S], 22)
const keyMask = pattern([B, S], 23)
const attentionMask = pattern([B, T, S], 24)

interface Case {
  readonly options?: Partial<nn.keras.Options>
  readonly inputs?: (give: (x: Bound) => Tensor.Tensor) => Partial<nn.keras.Inputs>
  readonly steps?: (p: { readonly [name: string]: Dense }, q: Dense) => Steps
}

const cases: { readonly [name: string]: Case } = {
  defaults: {},
  "other sizes, several output axes, no bias": {
    options: { valueDim: 2, outputShape: [3, 2], useBias: false, keyFeatures: 5, valueFeatures: 7 }
  },
  "all masks at once, 1 takes part, the rest scores -1e9": {
    inputs: (give) => ({
      queryMask: give(bools([B, T], queryMask.data)),
      valueMask: give(bools([B, S], valueMask.data)),
      keyMask: give(bools([B, S], keyMask.data)),
      attentionMask: give(bound("i32", attentionMask)),
      useCausalMask: true
    }),
    steps: () => ({
      fill: -1e9,
      visible: (b, _h, i, j) =>
        j <= i &&
        at(queryMask, b, i) * at(valueMask, b, j) * at(keyMask, b, j) * at(attentionMask, b, i, j) === 1
    })
  },
  "a window on both sides": {
    options: { slidingWindow: 2 },
    steps: () => ({ fill: -1e9, visible: (_b, _h, i, j) => Math.abs(i - j) < 2 })
  },
  "a gate": {
    options: { useGate: true },
    steps: (p, q) => ({
      gate: (b, i, e) => {
        const kernel = p["gate.kernel"] as Dense
        const D = kernel.shape[2] as number
        const [n, d] = [Math.floor(e / D), e % D]
        let sum = at(p["gate.bias"] as Dense, n, d)
        for (let f = 0; f < F; f++) sum += at(kernel, f, n, d) * at(q, b, i, f)
        return 1 / (1 + Math.exp(-sum))
      }
    })
  }
}

describe("keras.MultiHeadAttention", () => {
  it.each(Object.entries(cases))("%s", (_, { options = {}, inputs, steps }) => {
    const layer = nn.keras.MultiHeadAttention({
      numHeads: 2,
      keyDim: 3,
      features: F,
      dtype: "f64",
      ...options
    })
    const { values, bounds, give, apply } = prepare(layer)
    const FK = options.keyFeatures ?? F
    const [q, k, v] = [
      randomDense(1, [B, T, F]),
      randomDense(2, [B, S, FK]),
      randomDense(3, [B, S, options.valueFeatures ?? FK])
    ] as const
    const [query, key, value] = [q, k, v].map((x) => give(bound("f64", x))) as [
      Tensor.Tensor,
      Tensor.Tensor,
      Tensor.Tensor
    ]
    const call = { query, key, value, ...inputs?.(give) }
    const expected = attend(parametersOf(values, "attention_output"), [q, k, v], [2, 2], steps?.(values, q))
    const { out, scores } = apply({ ...call, returnAttentionScores: true })
    const shape = typeof options.outputShape === "object" ? options.outputShape : [F]
    expectDense(run(out, bounds), dense([B, T, ...shape], expected.out.data))
    expectDense(run(scores as Tensor.Tensor, bounds), expected.weights)
    expect(apply(call).scores).toBeUndefined()
  })

  it("takes the value for the key", () => {
    const { values, bounds, give, apply } = prepare(
      nn.keras.MultiHeadAttention({ numHeads: 2, keyDim: 3, features: F, dtype: "f64" })
    )
    const [q, v] = [randomDense(1, [B, T, F]), randomDense(2, [B, S, F])]
    const { out } = apply({ query: give(bound("f64", q)), value: give(bound("f64", v)) })
    expectDense(run(out, bounds), attend(parametersOf(values, "attention_output"), [q, v, v], [2, 2]).out)
  })

  const [X, Y] = [3, 2]

  it("runs over several axes", () => {
    const layer = nn.keras.MultiHeadAttention({ numHeads: 2, keyDim: 3, features: F, dtype: "f64" })
    const { values, bounds, give, apply } = prepare(layer)
    const q = randomDense(1, [B, X, Y, F])
    const mask = pattern([B, X, Y, X, Y], 31)
    const query = give(bound("f64", q))
    const { out, scores } = apply({
      query,
      value: query,
      attentionMask: give(bound("bool", mask)),
      returnAttentionScores: true
    })
    const flat = dense([B, X * Y, F], q.data)
    const expected = attend(parametersOf(values, "attention_output"), [flat, flat, flat], [2, 2], {
      fill: -1e9,
      visible: (b, _h, i, j) => mask.data[(b * X * Y + i) * X * Y + j] === 1
    })
    expectDense(run(out, bounds), dense([B, X, Y, F], expected.out.data))
    expectDense(run(scores as Tensor.Tensor, bounds), dense([B, 2, X, Y, X, Y], expected.weights.data))
  })

  it("runs over one axis of several, the others being batch", () => {
    const layer = nn.keras.MultiHeadAttention({
      numHeads: 2,
      keyDim: 3,
      features: F,
      dtype: "f64",
      attentionAxes: 1
    })
    const { values, bounds, give, apply } = prepare(layer)
    const q = randomDense(1, [B, X, Y, F])
    const mask = pattern([B, X, X], 32)
    const query = give(bound("f64", q))
    const { out, scores } = apply({
      query,
      value: query,
      attentionMask: give(bound("bool", mask)),
      returnAttentionScores: true
    })
    // [B, X, Y, F] as [B·Y, X, F].
    const flat = build([B * Y, X, F], (n, x, f) => at(q, Math.floor(n / Y), x, n % Y, f))
    const expected = attend(parametersOf(values, "attention_output"), [flat, flat, flat], [2, 2], {
      fill: -1e9,
      visible: (n, _h, i, j) => at(mask, Math.floor(n / Y), i, j) === 1
    })
    expectDense(
      run(out, bounds),
      build([B, X, Y, F], (b, x, y, f) => at(expected.out, b * Y + y, x, f))
    )
    expectDense(run(scores as Tensor.Tensor, bounds), dense([B, Y, 2, X, X], expected.weights.data))
  })

  it("refuses axes that are none", () => {
    const { give, apply } = prepare(
      nn.keras.MultiHeadAttention({ numHeads: 2, keyDim: 3, features: F, dtype: "f64", attentionAxes: [2] })
    )
    const query = give(bound("f64", randomDense(1, [B, T, F])))
    expect(() => apply({ query, value: query })).toThrow(/between the batch and the features, given 2/)
  })

  it("has Keras' parameters", () => {
    const { params } = nn.keras.MultiHeadAttention({
      numHeads: 2,
      keyDim: 3,
      valueDim: 4,
      features: F,
      outputShape: 9
    })
    expect(Object.entries(nn.Params.signature(params)).map(([n, s]) => `${n} ${s.shape.join("x")}`)).toEqual([
      "query.kernel 6x2x3",
      "query.bias 2x3",
      "key.kernel 6x2x3",
      "key.bias 2x3",
      "value.kernel 6x2x4",
      "value.bias 2x4",
      "attention_output.kernel 2x4x9",
      "attention_output.bias 9"
    ])
  })
})

describe("keras.GroupQueryAttention", () => {
  const options = { headDim: 3, numQueryHeads: 4, numKeyValueHeads: 2, features: F, dtype: "f64" } as const

  it("shares keys and values among heads", () => {
    const { values, bounds, give, apply } = prepare(nn.keras.GroupQueryAttention(options))
    const [q, v] = [randomDense(1, [B, T, F]), randomDense(2, [B, S, F])]
    const { out } = apply({ query: give(bound("f64", q)), value: give(bound("f64", v)) })
    expectDense(run(out, bounds), attend(parametersOf(values, "attention_output"), [q, v, v], [4, 2]).out)
  })

  it("refuses operands that have not three axes", () => {
    const layer = prepare(nn.keras.GroupQueryAttention(options))
    const x = layer.give(bound("f64", randomDense(1, [2, 3, 2, options.features])))
    expect(() => layer.apply({ query: x, value: x })).toThrow(/operands have 3 axes, given f64\[2, 3, 2,/)
  })

  it("refuses heads that do not divide", () => {
    expect(() => nn.keras.GroupedQueryAttention({ ...options, numQueryHeads: 3 })).toThrow(
      /must be divisible/
    )
  })
})
