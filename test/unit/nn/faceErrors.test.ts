/** What the frameworks' layers refuse, and how their masks say what they mean. */
import { describe, expect, it } from "vitest"
import * as Mask from "../../../src/Mask.ts"
import * as nn from "../../../src/nn/index.ts"
import type { Tensor } from "../../../src/Tensor.ts"
import { prepare } from "../../support/nn/face.ts"
import { bound, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

/** Options as a caller without types writes them. */
const free = <F>(f: F): ((...args: ReadonlyArray<unknown>) => unknown) => f as never

const flax = { numHeads: 2, inFeatures: 4 }
const keras = { numHeads: 2, keyDim: 2, features: 4 }

describe("options", () => {
  it.each([
    [
      "MultiheadAttention",
      () => free(nn.torch.MultiheadAttention)(4, 2, { device: "cuda" }),
      /device is not .*upload/s
    ],
    [
      "MultiHeadAttention",
      () => free(nn.keras.MultiHeadAttention)({ ...keras, kernel_regularizer: "l2" }),
      /kernel_regularizer is not .*nothing is trained/s
    ],
    [
      "MultiHeadAttention",
      () => free(nn.keras.MultiHeadAttention)({ ...keras, biasConstraint: "non_neg" }),
      /biasConstraint is not .*change them with a function/s
    ],
    [
      "GroupQueryAttention",
      () =>
        free(nn.keras.GroupQueryAttention)({
          ...{ headDim: 2, numQueryHeads: 2, numKeyValueHeads: 1, features: 4, activityRegularizer: {} }
        }),
      /activityRegularizer is not/
    ],
    [
      "MultiHeadAttention",
      () => free(nn.flax.MultiHeadAttention)({ ...flax, qkv_dot_general: () => 0 }),
      /qkv_dot_general is not .*keyHeads/s
    ],
    [
      "MultiHeadAttention",
      () => free(nn.flax.MultiHeadAttention)({ ...flax, rngs: 0 }),
      /rngs is not .*init\(key\)/s
    ]
  ])("refuses what means nothing here, with what to do instead: %s", (op, make, message) => {
    expect(make).toThrow(message)
    expect(make).toThrow(expect.objectContaining({ _tag: "AttrError", op }))
  })

  it("refuses what means nothing here, with what to do instead", () => {
    // What a framework leaves open is no option that is asked for.
    expect(() => free(nn.keras.MultiHeadAttention)({ ...keras, kernelRegularizer: null })).not.toThrow()
    expect(() => free(nn.torch.MultiheadAttention)(4, 2, { device: undefined })).not.toThrow()
  })

  it.each([
    [
      () => free(nn.torch.MultiheadAttention)(4, 2, { batch_first: true }),
      /no batch_first.*did you mean batchFirst/s
    ],
    [() => free(nn.mlx.MultiHeadAttention)(4, 2, { bais: true }), /no bais.*did you mean bias/s],
    [() => free(nn.keras.MultiHeadAttention)({ ...keras, key_dim: 2 }), /no key_dim.*did you mean keyDim/s],
    [() => free(nn.flax.MultiHeadAttention)({ ...flax, dropout: 0.1 }), /no dropout/],
    [() => free(nn.keras.MultiHeadAttention)({ numHeads: 2, keyDim: 2 }), /features is missing/],
    [() => free(nn.flax.MultiHeadAttention)({ numHeads: 2 }), /inFeatures is missing/]
  ])("says which name was meant: %s", (make, message) => expect(make).toThrow(message))

  it("flash attention goes without dropout and scores", () => {
    expect(() => nn.keras.MultiHeadAttention({ ...keras, dropout: 0.1, flashAttention: true })).toThrow(
      /Dropout is not supported when flash attention is enabled/
    )
    const { give, apply } = prepare(nn.keras.MultiHeadAttention({ ...keras, flashAttention: true }))
    const x = give(bound("f64", randomDense(1, [1, 2, 4])))
    expect(apply({ query: x, value: x }).scores).toBeUndefined()
    expect(() => apply({ query: x, value: x, returnAttentionScores: true })).toThrow(
      /scores is not supported/
    )
  })

  it("are parameters' dtypes and those of computing", () => {
    const dtypes = (layer: { readonly params: nn.Params.Tree }) =>
      new Set(Object.values(nn.Params.signature(layer.params)).map((s) => s.dtype))
    const mixed = nn.keras.MultiHeadAttention({ ...keras, dtype: "mixed_float16" })
    const half = nn.flax.MultiHeadAttention({ ...flax, dtype: "bf16" })
    const params = nn.flax.MultiHeadAttention({ ...flax, paramDtype: "bf16", precision: "highest" })
    expect([mixed, half, params].map(dtypes)).toEqual([["f32"], ["f32"], ["bf16"]].map((d) => new Set(d)))
    const x = bound("f64", randomDense(1, [1, 2, 4]))
    const one = prepare(mixed)
    expect(one.apply({ query: one.give(x), value: one.give(x) }).out.dtype).toBe("f16")
    const other = prepare(half)
    expect(other.apply({ inputsQ: other.give(x) }).out.dtype).toBe("bf16")
  })
})

describe("calls", () => {
  const x = (...shape: ReadonlyArray<number>): Tensor => bound("f64", randomDense(1, shape)).tensor
  const bools = (...shape: ReadonlyArray<number>): Tensor =>
    bound("bool", dense(shape, Array(shape.reduce((a, b) => a * b, 1)).fill(1))).tensor
  const torch = prepare(nn.torch.MultiheadAttention(4, 2, { batchFirst: true }))
  const three = { query: x(2, 3, 4), key: x(2, 5, 4), value: x(2, 5, 4) }

  it.each([
    ["no key", { query: x(2, 3, 4) }, /key is missing/],
    ["a name of Python's", { ...three, attn_mask: bools(3, 5) }, /no attn_mask.*did you mean attnMask/s],
    ["queries of other features", { ...three, query: x(2, 3, 6) }, /query is \[2, 3, 4\]/],
    ["values of another length", { ...three, value: x(2, 4, 4) }, /value is \[2, 5, 4\]/],
    ["keys of another batch", { ...three, key: x(3, 5, 4) }, /key is \[2, 5, 4\]/],
    ["a mask that would broadcast", { ...three, attnMask: bools(1, 5) }, /attnMask is \[3, 5\]/],
    ["a mask of other heads", { ...three, attnMask: bools(2, 3, 5) }, /attnMask is \[4, 3, 5\]/],
    ["padding without a batch", { ...three, keyPaddingMask: bools(5) }, /keyPaddingMask is \[2, 5\]/],
    [
      "padding with a batch there is not",
      { query: x(3, 4), key: x(5, 4), value: x(5, 4), keyPaddingMask: bools(1, 5) },
      /keyPaddingMask is \[5\]/
    ]
  ])("of PyTorch's layer refuse %s", (_, inputs, message) => {
    expect(() => torch.apply(inputs as never)).toThrow(message)
  })

  it("of the other layers refuse what is missing", () => {
    expect(() => prepare(nn.mlx.MultiHeadAttention(4, 2)).apply({ queries: x(1, 2, 4) } as never)).toThrow(
      /keys is missing/
    )
    expect(() => prepare(nn.keras.MultiHeadAttention(keras)).apply({ query: x(1, 2, 4) } as never)).toThrow(
      /value is missing/
    )
    expect(() => prepare(nn.keras.Attention()).apply({ query: x(1, 2, 4) } as never)).toThrow(
      /value is missing/
    )
    expect(() => prepare(nn.flax.MultiHeadAttention(flax)).apply({} as never)).toThrow(/inputsQ is missing/)
    const dropping = prepare(nn.keras.Attention({ dropout: 0.5 }))
    expect(() => dropping.apply({ query: x(1, 2, 4), value: x(1, 2, 4), training: true })).toThrow(/a seed/)
  })
})

it("masks of every face carry their polarity", () => {
  const [T, F] = [4, 4]
  const own = randomDense(2, [1, T, F])
  const outputs = [Mask.causal, Mask.toDrop(Mask.causal)].map((mask) => {
    const keras = prepare(nn.keras.MultiHeadAttention({ numHeads: 2, keyDim: 2, features: F, dtype: "f64" }))
    const flax = prepare(nn.flax.MultiHeadAttention({ numHeads: 2, inFeatures: F, dtype: "f64" }))
    const torch = prepare(nn.torch.MultiheadAttention(F, 2, { batchFirst: true, dtype: "f64" }))
    const mlx = prepare(nn.mlx.MultiHeadAttention(F, 2, { dtype: "f64" }))
    const give = (to: { readonly give: (x: ReturnType<typeof bound>) => Tensor }) =>
      to.give(bound("f64", own))
    const [a, b, c, d] = [give(keras), give(flax), give(torch), give(mlx)] as [Tensor, Tensor, Tensor, Tensor]
    return [
      run(keras.apply({ query: a, value: a, attentionMask: mask }).out, keras.bounds),
      run(flax.apply({ inputsQ: b, mask }).out, flax.bounds),
      run(torch.apply({ query: c, key: c, value: c, attnMask: mask }).out, torch.bounds),
      run(mlx.apply({ queries: d, keys: d, values: d, mask }), mlx.bounds),
      // What the faces call causal is the same.
      run(keras.apply({ query: a, value: a, useCausalMask: true }).out, keras.bounds),
      run(flax.apply({ inputsQ: b, isCausal: true }).out, flax.bounds)
    ] as const
  })
  const [keep, drop] = outputs as [(typeof outputs)[number], (typeof outputs)[number]]
  for (const [n, x] of keep.entries()) expectDense(drop[n] as typeof x, x)
  expectDense(keep[4], keep[0])
  expectDense(keep[5], keep[1])
})
