import { describe, expect, it } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { unknownTests } from "../../../scripts/layerOptions.ts"
import * as nn from "../../../src/nn/index.ts"

const [E, H] = [64, 4]

/** How values are spread: a limit that none exceeds, a deviation, and the fourth moment in units of its square. */
const spread = (values: HostArray.HostArray | undefined) => {
  const x = HostArray.toNumbers(values as HostArray.HostArray)
  const moment = (power: number) => x.reduce((sum, y) => sum + y ** power, 0) / x.length
  return {
    top: x.reduce((a, b) => Math.max(a, Math.abs(b)), 0),
    mean: moment(1),
    deviation: Math.sqrt(moment(2)),
    kurtosis: moment(4) / moment(2) ** 2,
    count: x.length
  }
}

type Start =
  | { readonly uniform: number }
  | { readonly normal: number }
  | { readonly cut: number }
  | { readonly value: number }

const flat = (layer: { readonly init: (key: number) => object }): nn.State => nn.Params.flatten(layer.init(1))

/** The kurtosis of a normal distribution cut at twice its deviation. */
const cutKurtosis = 2.3659

const starts: ReadonlyArray<readonly [face: string, nn.State, { readonly [name: string]: Start }]> = [
  [
    "torch",
    flat(nn.torch.MultiheadAttention(E, H, { addBiasKv: true })),
    {
      // Xavier over the packed projection, whose rows are three times the columns; the projection out is a linear layer's.
      in_proj_weight: { uniform: Math.sqrt(6 / (4 * E)) },
      "out_proj.weight": { uniform: 1 / Math.sqrt(E) },
      in_proj_bias: { value: 0 },
      "out_proj.bias": { value: 0 },
      bias_k: { normal: Math.sqrt(1 / E) },
      bias_v: { normal: Math.sqrt(1 / E) }
    }
  ],
  [
    "torch, other sizes",
    flat(nn.torch.MultiheadAttention(E, H, { kdim: 48, vdim: 32 })),
    {
      q_proj_weight: { uniform: Math.sqrt(6 / (E + E)) },
      k_proj_weight: { uniform: Math.sqrt(6 / (E + 48)) },
      v_proj_weight: { uniform: Math.sqrt(6 / (E + 32)) }
    }
  ],
  [
    "torch, a transformer's layer",
    flat(nn.torch.TransformerEncoderLayer(E, H, { dimFeedforward: 128 })),
    {
      "linear1.weight": { uniform: 1 / Math.sqrt(E) },
      "linear2.weight": { uniform: 1 / Math.sqrt(128) },
      "linear1.bias": { uniform: 1 / Math.sqrt(E) },
      "norm1.weight": { value: 1 },
      "norm1.bias": { value: 0 }
    }
  ],
  [
    "mlx",
    flat(nn.mlx.MultiHeadAttention(E, H, { bias: true, keyInputDims: 48, valueDims: 32 })),
    {
      "query_proj.weight": { uniform: 1 / Math.sqrt(E) },
      "key_proj.weight": { uniform: 1 / Math.sqrt(48) },
      "out_proj.weight": { uniform: 1 / Math.sqrt(32) },
      "query_proj.bias": { uniform: 1 / Math.sqrt(E) },
      "value_proj.bias": { uniform: 1 / Math.sqrt(48) }
    }
  ],
  [
    "keras",
    flat(nn.keras.MultiHeadAttention({ numHeads: H, keyDim: 16, features: E, outputShape: [8, 6] })),
    {
      // Kernels of three axes and more count as those of a convolution.
      "query.kernel": { uniform: Math.sqrt(6 / (E * H + E * 16)) },
      "attention_output.kernel": { uniform: Math.sqrt(6 / (H * 16 * 8 + H * 16 * 6)) },
      "query.bias": { value: 0 },
      "attention_output.bias": { value: 0 }
    }
  ],
  [
    "keras, grouped",
    flat(nn.keras.GroupQueryAttention({ headDim: 16, numQueryHeads: H, numKeyValueHeads: 2, features: E })),
    { "key.kernel": { uniform: Math.sqrt(6 / (E * 2 + E * 16)) } }
  ],
  [
    "flax",
    flat(nn.flax.MultiHeadAttention({ numHeads: H, inFeatures: E, qkvFeatures: 128, normalizeQk: true })),
    {
      "query.kernel": { cut: Math.sqrt(1 / E) },
      "out.kernel": { cut: Math.sqrt(1 / 128) },
      "query.bias": { value: 0 },
      "query_ln.scale": { value: 1 }
    }
  ]
]

describe("faces", () => {
  it.each(
    starts.flatMap(([face, values, all]) =>
      Object.entries(all).map(([name, start]) => [face, name, start, values[name]] as const)
    )
  )("%s: %s starts as %j", (_, name, start, values) => {
    expect(values, name).toBeDefined()
    const { top, mean, deviation, kurtosis, count } = spread(values)
    if ("value" in start) {
      expect([top, deviation]).toEqual([start.value, start.value])
      return
    }
    const limit = "uniform" in start ? start.uniform : Infinity
    const wanted = "uniform" in start ? limit / Math.sqrt(3) : "cut" in start ? start.cut : start.normal
    // Four standard errors of a mean, a deviation and a kurtosis.
    expect(Math.abs(mean)).toBeLessThan((4 * wanted) / Math.sqrt(count))
    expect(Math.abs(deviation / wanted - 1)).toBeLessThan(4 / Math.sqrt(2 * count))
    const bend = "uniform" in start ? 1.8 : "cut" in start ? cutKurtosis : 3
    expect(Math.abs(kurtosis - bend)).toBeLessThan(4 * Math.sqrt(24 / count))
    expect(top).toBeLessThanOrEqual(limit)
    if ("cut" in start) expect(top).toBeLessThanOrEqual((2.001 * start.cut) / 0.87962566)
  })

  it("parameters start as the framework's: by its distribution, within its limits", () => {
    expect(starts.map(([face]) => face.split(",")[0])).toEqual(
      expect.arrayContaining(["torch", "mlx", "keras", "flax"])
    )
    const { constant } = nn.Initialiser
    const told = flat(
      nn.flax.MultiHeadAttention({
        ...{ numHeads: H, inFeatures: E, kernelInit: () => constant(1), biasInit: constant(2) },
        ...{ outKernelInit: () => constant(3), outBiasInit: constant(4) }
      })
    )
    const first = (name: string) => HostArray.toNumbers(told[name] as HostArray.HostArray)[0]
    expect(["query.kernel", "value.bias", "out.kernel", "out.bias"].map(first)).toEqual([1, 2, 3, 4])
  })

  it("every test that the table of options names exists", () => {
    expect(unknownTests()).toEqual([])
  })
})
