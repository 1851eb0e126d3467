import { describe, expect, it } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { options, unknownTests } from "../../../scripts/layerOptions.ts"
import * as nn from "../../../src/nn/index.ts"

const moments = (values: HostArray.HostArray | undefined) => {
  const x = HostArray.toNumbers(values as HostArray.HostArray)
  const top = x.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
  return { top, deviation: Math.sqrt(x.reduce((a, b) => a + b * b, 0) / x.length) }
}

describe("faces", () => {
  it("parameters start as the framework's, or as told", () => {
    const E = 64
    const torch = nn.Params.flatten(nn.torch.MultiheadAttention(E, 4, { addBiasKv: true }).init(1))
    // Xavier over the packed projection, whose rows are three times the columns.
    const limit = Math.sqrt(6 / (4 * E))
    expect(moments(torch["in_proj_weight"]).top).toBeLessThanOrEqual(limit)
    expect(moments(torch["in_proj_weight"]).deviation / (limit / Math.sqrt(3))).toBeCloseTo(1, 1)
    expect(moments(torch["in_proj_bias"]).top).toBe(0)
    expect(moments(torch["out_proj.bias"]).top).toBe(0)
    expect(moments(torch["bias_k"]).top).toBeGreaterThan(0)

    const mlx = nn.Params.flatten(nn.mlx.MultiHeadAttention(E, 4).init(1))
    expect(moments(mlx["query_proj.weight"]).top).toBeLessThanOrEqual(1 / Math.sqrt(E))
    expect(Object.keys(mlx).some((name) => name.endsWith("bias"))).toBe(false)

    const keras = nn.Params.flatten(
      nn.keras.MultiHeadAttention({ numHeads: 4, keyDim: 16, features: E }).init(1)
    )
    expect(moments(keras["query.kernel"]).top).toBeLessThanOrEqual(Math.sqrt(6 / (2 * E)))
    expect(moments(keras["query.bias"]).top).toBe(0)

    const flax = nn.Params.flatten(nn.flax.MultiHeadAttention({ numHeads: 4, inFeatures: E }).init(1))
    expect(moments(flax["query.kernel"]).deviation * Math.sqrt(E)).toBeCloseTo(1, 1)

    const { constant } = nn.Initialiser
    const told = nn.Params.flatten(
      nn.flax
        .MultiHeadAttention({
          ...{ numHeads: 4, inFeatures: E, kernelInit: () => constant(1), biasInit: constant(2) },
          ...{ outKernelInit: () => constant(3), outBiasInit: constant(4) }
        })
        .init(1)
    )
    const first = (name: string) => HostArray.toNumbers(told[name] as HostArray.HostArray)[0]
    expect(["query.kernel", "value.bias", "out.kernel", "out.bias"].map(first)).toEqual([1, 2, 3, 4])
  })

  it("every test that the table of options names exists, and every option has one or says no", () => {
    expect(unknownTests()).toEqual([])
    expect(options.filter(({ test }) => test === undefined)).toHaveLength(3)
  })
})
