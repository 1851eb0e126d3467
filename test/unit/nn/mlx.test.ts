import { describe, expect, it } from "vitest"
import * as nn from "../../../src/nn/index.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { attend, type Linear } from "../../support/nn/attend.ts"
import { prepare } from "../../support/nn/face.ts"
import { at, bound, type Dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [B, T, S] = [2, 4, 5]

const parametersOf = (p: { readonly [name: string]: Dense }) => {
  const linear = (name: string): Linear => ({
    weight: p[`${name}_proj.weight`] as Dense,
    bias: p[`${name}_proj.bias`]
  })
  return { query: linear("query"), key: linear("key"), value: linear("value"), out: linear("out") }
}

describe("mlx.MultiHeadAttention", () => {
  it.each([
    ["defaults: no bias", {}],
    ["a bias", { bias: true }],
    [
      "other sizes",
      { queryInputDims: 5, keyInputDims: 6, valueInputDims: 7, valueDims: 4, valueOutputDims: 9 }
    ],
    ["values have the keys' features", { keyInputDims: 6 }]
  ] as const)("%s", (_, options: nn.mlx.Options) => {
    const { values, bounds, give, apply } = prepare(
      nn.mlx.MultiHeadAttention(8, 2, { dtype: "f64", ...options })
    )
    const FK = options.keyInputDims ?? 8
    const [q, k, v] = [
      randomDense(1, [B, T, options.queryInputDims ?? 8]),
      randomDense(2, [B, S, FK]),
      randomDense(3, [B, S, options.valueInputDims ?? FK])
    ] as const
    const [queries, keys, own] = [q, k, v].map((x) => give(bound("f64", x))) as [
      Tensor.Tensor,
      Tensor.Tensor,
      Tensor.Tensor
    ]
    expectDense(
      run(apply({ queries, keys, values: own }), bounds),
      attend(parametersOf(values), [q, k, v], [2, 2]).out
    )
    expect(Object.keys(values).some((n) => n.endsWith("bias"))).toBe(options.bias === true)
  })

  it("adds its causal mask", () => {
    const { values, bounds, give, apply } = prepare(nn.mlx.MultiHeadAttention(8, 2, { dtype: "f64" }))
    const x = randomDense(1, [B, T, 8])
    const own = give(bound("f64", x))
    const mask = nn.mlx.createAdditiveCausalMask(T, "f64")
    expectDense(
      run(apply({ queries: own, keys: own, values: own, mask }), bounds),
      attend(parametersOf(values), [x, x, x], [2, 2], { visible: (_b, _h, i, j) => j <= i }).out
    )
    const half = run(nn.mlx.createAdditiveCausalMask(3, "f16"))
    expect([at(half, 0, 0), at(half, 0, 1), at(half, 2, 1)]).toEqual([0, -65504, 0])
  })

  it("refuses heads that do not divide", () => {
    expect(() => nn.mlx.MultiHeadAttention(7, 2)).toThrow(/divisible by the number of heads \(7 % 2\) != 0/)
  })
})
