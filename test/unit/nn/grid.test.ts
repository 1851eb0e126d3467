/** The grids of parameters that the frameworks' own tests run, against loops in float64. */
import { describe, expect, it } from "vitest"
import * as Mask from "../../../src/Mask.ts"
import * as nn from "../../../src/nn/index.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { attend, type Steps } from "../../support/nn/attend.ts"
import { prepare } from "../../support/nn/face.ts"
import { parametersOf } from "../../support/nn/kernels.ts"
import { linears, swapped } from "../../support/nn/torch.ts"
import { at, bound, build, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

type Three = [Tensor.Tensor, Tensor.Tensor, Tensor.Tensor]

const flags = (seed: number, shape: ReadonlyArray<number>): Dense =>
  dense(
    shape,
    randomDense(seed, shape).data.map((x) => (x > -0.3 ? 1 : 0))
  )

/** All choices of a value for each name. */
const product = <O extends { readonly [name: string]: ReadonlyArray<unknown> }>(options: O) =>
  Object.entries(options).reduce<ReadonlyArray<object>>(
    (all, [name, values]) => all.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}]
  ) as ReadonlyArray<{ readonly [K in keyof O]: O[K][number] }>

const name = (options: object): string =>
  Object.entries(options)
    .map(([key, value]) => `${key} ${value}`)
    .join(", ")

describe("PyTorch's MultiheadAttention", () => {
  const [N, L, S, E, H] = [2, 2, 3, 6, 3]
  const row = (x: Dense, head: number, d: number): number => at(x, 0, 0, head * (E / H) + d)
  const grid = product({
    batchFirst: [false, true],
    bias: [true, false],
    kdim: [E, 5],
    extra: ["none", "addBiasKv", "addZeroAttn", "both"],
    mask: ["none", "bool", "float per head", "padding", "bool and padding"]
  })
  const dropped = flags(5, [L, S]).data.map((x) => 1 - x)
  const ignored = flags(6, [N, S]).data.map((x) => 1 - x)
  const added = randomDense(8, [N * H, L, S])

  it.each(grid.map((own) => [name(own), own] as const))(
    "%s",
    (_, { batchFirst, bias, kdim, extra, mask }) => {
      const options = {
        ...{ batchFirst, bias, kdim, dtype: "f64" as const },
        addBiasKv: extra === "addBiasKv" || extra === "both",
        addZeroAttn: extra === "addZeroAttn" || extra === "both"
      }
      const { values, bounds, give, apply } = prepare(nn.torch.MultiheadAttention(E, H, options))
      const operands = [
        randomDense(1, [N, L, E]),
        randomDense(2, [N, S, kdim]),
        randomDense(3, [N, S, E])
      ] as const
      const arranged = (x: Dense): Dense => (batchFirst ? x : swapped(x))
      const [query, key, value] = operands.map((x) => give(bound("f64", arranged(x)))) as Three
      const [drops, pads] = [mask.startsWith("bool"), mask.endsWith("padding")]
      const steps: Steps = {
        extra: [
          ...(options.addBiasKv
            ? [
                (side: string, h: number, d: number) =>
                  row((side === "key" ? values.bias_k : values.bias_v) as Dense, h, d)
              ]
            : []),
          ...(options.addZeroAttn ? [() => 0] : [])
        ],
        score: (x, b, h, i, j) => (mask === "float per head" && j < S ? x + at(added, b * H + h, i, j) : x),
        visible: (b, _h, i, j) =>
          j >= S || !((drops && dropped[i * S + j] === 1) || (pads && ignored[b * S + j] === 1))
      }
      const { out, weights } = apply({
        ...{ query, key, value, averageAttnWeights: false },
        attnMask: drops
          ? give(bound("bool", dense([L, S], dropped)))
          : mask === "float per head"
            ? give(bound("f64", added))
            : undefined,
        keyPaddingMask: pads ? give(bound("bool", dense([N, S], ignored))) : undefined
      })
      const expected = attend(linears(values), operands, [H, H], steps)
      expectDense(run(out, bounds), arranged(expected.out))
      expectDense(run(weights as Tensor.Tensor, bounds), expected.weights)
    }
  )

  it("of ones everywhere gives what the formula does: every key weighs the same", () => {
    const layer = nn.torch.MultiheadAttention(4, 2, { dtype: "f64" })
    const one = (shape: ReadonlyArray<number>) =>
      bound(
        "f64",
        build(shape, () => 1)
      )
    const entries = Object.entries(nn.Params.signature(layer.params)).map(
      ([key, own]) => [key, one(own.shape as ReadonlyArray<number>)] as const
    )
    const x = one([3, 1, 4])
    const params = nn.Params.nest(
      layer.params,
      Object.fromEntries(entries.map(([key, b]) => [key, b.tensor]))
    )
    const { out, weights } = layer.apply(params, { query: x.tensor, key: x.tensor, value: x.tensor })
    const bounds = [x, ...entries.map(([, b]) => b)]
    // A value is 4 + 1; the sum of four of them, + 1.
    expectDense(
      run(out, bounds),
      build([3, 1, 4], () => 21)
    )
    expectDense(
      run(weights as Tensor.Tensor, bounds),
      build([1, 3, 3], () => 1 / 3)
    )
  })
})

describe("Keras' MultiHeadAttention", () => {
  const sizes = (dims: ReadonlyArray<number>): number => dims.reduce((a, b) => a * b, 1)

  it.each([
    ["4d_inputs_1freebatch", [3, 4], [3, 2], [2]],
    ["4d_inputs_2d_attention", [3, 4], [3, 2], [1, 2]],
    ["5d_inputs_2d_attention", [5, 3, 4], [5, 3, 2], [2, 3]]
  ] as const)("test_high_dim_attention: %s", (_, qDims, vDims, attentionAxes) => {
    const [B, F] = [2, 4]
    for (const useGate of [false, true]) {
      const options = { numHeads: 2, keyDim: 2, features: F, useGate, attentionAxes, dtype: "f64" } as const
      const { values, bounds, give, apply } = prepare(nn.keras.MultiHeadAttention(options))
      const [q, v] = [randomDense(1, [B, ...qDims, F]), randomDense(2, [B, ...vDims, F])]
      // Axes before those of attention are batch, and come first here.
      const free = (attentionAxes[0] as number) - 1
      const batch = B * sizes(qDims.slice(0, free))
      const [queries, keys] = [sizes(qDims.slice(free)), sizes(vDims.slice(free))]
      const [flatQ, flatV] = [dense([batch, queries, F], q.data), dense([batch, keys, F], v.data)]
      const mask = flags(9, [B, ...qDims.slice(free), ...vDims.slice(free)])
      const perBatch = batch / B
      const steps: Steps = {
        fill: -1e9,
        visible: (b, _h, i, j) => mask.data[(Math.floor(b / perBatch) * queries + i) * keys + j] === 1,
        ...(useGate && { gate: (b: number, i: number, e: number) => gateOf(values, flatQ, b, i, e) })
      }
      const { out } = apply({
        query: give(bound("f64", q)),
        value: give(bound("f64", v)),
        attentionMask: give(bound("bool", mask))
      })
      const expected = attend(parametersOf(values, "attention_output"), [flatQ, flatV, flatV], [2, 2], steps)
      expectDense(run(out, bounds), dense(q.shape, expected.out.data))
    }
  })

  const gateOf = (
    p: { readonly [name: string]: Dense },
    q: Dense,
    b: number,
    i: number,
    e: number
  ): number => {
    const kernel = p["gate.kernel"] as Dense
    const [F, , D] = kernel.shape as [number, number, number]
    let sum = at(p["gate.bias"] as Dense, Math.floor(e / D), e % D)
    for (let f = 0; f < F; f++) sum += at(kernel, f, Math.floor(e / D), e % D) * at(q, b, i, f)
    return 1 / (1 + Math.exp(-sum))
  }

  it.each([
    ["without_key_same_proj", [4, 8], [2, 8], undefined, undefined],
    ["with_key_same_proj", [4, 8], [2, 8], [2, 3], undefined],
    ["without_key_different_proj", [4, 8], [2, 8], undefined, [3, 4]],
    ["with_key_different_proj", [4, 8], [2, 8], [2, 3], [1, 5]],
    ["high_dim_same_proj", [4, 2, 3, 8], [1, 1, 5, 8], [1, 1, 5, 2], undefined],
    ["high_dim_different_proj", [4, 2, 3, 8], [1, 1, 5, 8], [1, 1, 5, 2], [3, 2]],
    ["different_qv_last_dims", [4, 2, 3, 8], [4, 2, 3, 7], [4, 2, 3, 8], undefined]
  ] as const)("test_compute_output_shape: %s", (_, qDims, vDims, kDims, outputShape) => {
    const B = 2
    const [q, v] = [randomDense(1, [B, ...qDims]), randomDense(2, [B, ...vDims])]
    const k = kDims === undefined ? v : randomDense(3, [B, ...kDims])
    const [features, keyFeatures, valueFeatures] = [q, k, v].map((x) => x.shape.at(-1)) as [
      number,
      number,
      number
    ]
    const { values, bounds, give, apply } = prepare(
      nn.keras.MultiHeadAttention({
        ...{ numHeads: 2, keyDim: 2, valueDim: 2, features, keyFeatures, valueFeatures, dtype: "f64" },
        ...(outputShape && { outputShape })
      })
    )
    const { out } = apply({
      query: give(bound("f64", q)),
      value: give(bound("f64", v)),
      ...(kDims && { key: give(bound("f64", k)) })
    })
    const flat = (x: Dense): Dense =>
      dense([B, sizes(x.shape.slice(1, -1)), x.shape.at(-1) as number], x.data)
    const expected = attend(parametersOf(values, "attention_output"), [flat(q), flat(k), flat(v)], [2, 2])
    const shape = [B, ...qDims.slice(0, -1), ...(outputShape ?? [features])]
    expect(out.shape).toEqual(shape)
    expectDense(run(out, bounds), dense(shape, expected.out.data))
  })

  it.each(
    product({ slidingWindow: [1, 2, 3, 6], useCausalMask: [false, true] }).map(
      (own) => [name(own), own] as const
    )
  )("of identity kernels, 8 heads of 8: %s", (_, { slidingWindow, useCausalMask }) => {
    const [heads, size, T] = [8, 8, 4]
    const layer = nn.keras.MultiHeadAttention({
      ...{ numHeads: heads, keyDim: size, features: heads * size, slidingWindow, dtype: "f64" }
    })
    // A kernel [64, 8, 8] or [8, 8, 64] of the identity is the identity of 64.
    const entries = Object.entries(nn.Params.signature(layer.params)).map(([key, own]) => {
      const shape = own.shape as ReadonlyArray<number>
      const data = Array.from({ length: sizes(shape) }, (_x, n) => (key.endsWith("bias") || n % 65 ? 0 : 1))
      return [key, bound("f64", dense(shape, data))] as const
    })
    const params = nn.Params.nest(
      layer.params,
      Object.fromEntries(entries.map(([key, b]) => [key, b.tensor]))
    )
    const numbers = randomDense(4, [1, T, heads * size])
    const x = bound("f64", numbers)
    const { out } = layer.apply(params, { query: x.tensor, value: x.tensor, useCausalMask })
    const identity = { weight: build([64, 64], (i, j) => (i === j ? 1 : 0)) }
    const same = { query: identity, key: identity, value: identity, out: identity }
    const expected = attend(same, [numbers, numbers, numbers], [heads, heads], {
      visible: (_b, _h, i, j) => Math.abs(i - j) < slidingWindow && (!useCausalMask || j <= i)
    })
    expectDense(run(out, [x, ...entries.map(([, b]) => b)]), expected.out)
  })
})

describe("Flax's MultiHeadAttention", () => {
  const grid = product({
    batch: [[], [2], [2, 3]],
    numKvHeads: [1, 2, 4],
    useBias: [true, false],
    normalizeQk: [false, true],
    isCausal: [false, true]
  })

  it.each(grid.map((own) => [name(own), own] as const))("%s", (_, { batch, isCausal, ...options }) => {
    const [T, S, F] = [3, 3, 8]
    const { values, bounds, give, apply } = prepare(
      nn.flax.MultiHeadAttention({ numHeads: 4, inFeatures: F, dtype: "f64", ...options })
    )
    const [q, k] = [randomDense(1, [...batch, T, F]), randomDense(2, [...batch, S, F])]
    const { out } = apply({ inputsQ: give(bound("f64", q)), inputsK: give(bound("f64", k)), isCausal })
    const B = batch.reduce((a, b) => a * b, 1)
    const [flatQ, flatK] = [dense([B, T, F], q.data), dense([B, S, F], k.data)]
    const expected = attend(parametersOf(values, "out"), [flatQ, flatK, flatK], [4, options.numKvHeads], {
      ...(isCausal && { visible: (_b: number, _h: number, i: number, j: number) => j <= i }),
      ...(options.normalizeQk && {
        turn: (head: ReadonlyArray<number>, _p: number, of: "query" | "key") => {
          const mean = head.reduce((a, b) => a + b, 0) / head.length
          const variance = head.reduce((a, b) => a + (b - mean) ** 2, 0) / head.length
          return head.map(
            (x, d) => ((x - mean) / Math.sqrt(variance + 1e-6)) * at(values[`${of}_ln.scale`] as Dense, d)
          )
        }
      })
    })
    expectDense(run(out, bounds), dense([...batch, T, F], expected.out.data))
  })
})

describe("MLX's MultiHeadAttention", () => {
  const grid = product({
    size: [1, 4, 72],
    heads: [1, 2],
    bias: [false, true],
    queries: [1, 3],
    mask: ["none", "causal"]
  })

  it.each(grid.map((own) => [name(own), own] as const))("%s", (_, { size, heads, bias, queries, mask }) => {
    const F = size * heads
    const { values, bounds, give, apply } = prepare(
      nn.mlx.MultiHeadAttention(F, heads, { bias, dtype: "f64" })
    )
    const [q, k] = [randomDense(1, [2, queries, F]), randomDense(2, [2, 3, F])]
    const own = give(bound("f64", k))
    const out = apply({
      ...{ queries: give(bound("f64", q)), keys: own, values: own },
      ...(mask === "causal" && { mask: Mask.causalBottomRight })
    })
    const linear = (of: string) => ({
      weight: values[`${of}_proj.weight`] as Dense,
      bias: values[`${of}_proj.bias`]
    })
    const all = { query: linear("query"), key: linear("key"), value: linear("value"), out: linear("out") }
    const expected = attend(all, [q, k, k], [heads, heads], {
      visible: (_b, _h, i, j) => mask === "none" || j <= i + 3 - queries
    })
    expectDense(run(out, bounds), expected.out)
  })
})
