import { describe, expect, it } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import * as nn from "../../../src/nn/index.ts"
import type { Layer } from "../../../src/nn/Layer.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { bound, type Dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [B, T, F, N] = [2, 3, 8, 4]
const heads = { heads: N }

/** One layer in each layout, and how it is called. */
const layers = (bias: boolean) => ({
  effuse: nn.attention({ features: F, heads: N, bias, dtype: "f64" }),
  torch: nn.torch.MultiheadAttention(F, N, { bias, batchFirst: true, dtype: "f64" }),
  mlx: nn.mlx.MultiHeadAttention(F, N, { bias, dtype: "f64" }),
  keras: nn.keras.MultiHeadAttention({
    numHeads: N,
    keyDim: F / N,
    features: F,
    useBias: bias,
    dtype: "f64"
  }),
  flax: nn.flax.MultiHeadAttention({ numHeads: N, inFeatures: F, useBias: bias, dtype: "f64" })
})

const calls: { readonly [L in nn.Layout]: (x: Tensor.Tensor) => unknown } = {
  effuse: (x) => ({ query: x }),
  torch: (x) => ({ query: x, key: x, value: x }),
  mlx: (x) => ({ queries: x, keys: x, values: x }),
  keras: (x) => ({ query: x, value: x }),
  flax: (x) => ({ inputsQ: x })
}

const names = Object.keys(calls) as ReadonlyArray<nn.Layout>

const random = (layer: { readonly params: unknown }): nn.State =>
  Object.fromEntries(
    Object.entries(nn.Params.flatten<nn.Params.Param>(layer.params)).map(([name, p], n) => {
      const x = randomDense(40 + n, p.spec.shape as ReadonlyArray<number>)
      return [name, HostArray.fromNumbers("f64", x.shape, x.data)]
    })
  )

const output = (layout: nn.Layout, bias: boolean, state: nn.State): Dense => {
  const layer = layers(bias)[layout] as unknown as Layer<nn.Params.Param, unknown, unknown>
  const bounds = Object.entries(state).map(([name, value]) => ({
    name,
    x: bound("f64", { shape: value.shape, data: [...HostArray.toNumbers(value)] })
  }))
  const x = bound("f64", randomDense(1, [B, T, F]))
  const tensors = Object.fromEntries(bounds.map((b) => [b.name, b.x.tensor]))
  const result = layer.apply(nn.Params.nest(layer.params, tensors), calls[layout](x.tensor))
  const out = layout === "mlx" ? result : (result as { readonly out: unknown }).out
  return run(out as Tensor.Tensor, [x, ...bounds.map((b) => b.x)])
}

describe.each([true, false])("with biases: %s", (bias) => {
  it.each(names.flatMap((from) => names.map((to) => [from, to] as const)))(
    "%s to %s: the same layer, and back",
    (from, to) => {
      const state = random(layers(bias)[from])
      const other = nn.convert(state, from, to, heads)
      expect(nn.convert(other, to, from, heads)).toEqual(state)
      const wanted = nn.Params.flatten<nn.Params.Param>(layers(bias)[to].params)
      expect(Object.fromEntries(Object.entries(other).map(([n, x]) => [n, x.shape]))).toEqual(
        Object.fromEntries(Object.entries(wanted).map(([n, p]) => [n, p.spec.shape]))
      )
      expectDense(output(to, bias, other), output(from, bias, state))
    }
  )
})

it("keeps key/value heads, learned keys and norms of heads", () => {
  const grouped = random(nn.attention({ features: F, heads: N, kvHeads: 2, qkNorm: "layer", dtype: "f64" }))
  const flax = nn.convert(grouped, "effuse", "flax", { heads: N, kvHeads: 2 })
  expect(flax["key.kernel"]?.shape).toEqual([F, 2, 2])
  expect(nn.convert(flax, "flax", "effuse", { heads: N, kvHeads: 2 })).toEqual(grouped)
  const extra = random(nn.torch.MultiheadAttention(F, N, { addBiasKv: true, kdim: 5, dtype: "f64" }))
  expect(nn.convert(nn.convert(extra, "torch", "effuse", heads), "effuse", "torch", heads)).toEqual(extra)
})

it("keeps several axes of features, and reads names with slashes", () => {
  const outFeatures = [2, 3]
  const layer = nn.keras.MultiHeadAttention({ numHeads: N, keyDim: 2, features: F, outputShape: outFeatures })
  const state = random(layer)
  const own = nn.convert(state, "keras", "effuse", heads)
  expect(own["out.weight"]?.shape).toEqual([6, F])
  expect(nn.convert(own, "effuse", "keras", { ...heads, outFeatures })).toEqual(state)
  const files = Object.fromEntries(Object.entries(state).map(([n, x]) => [n.replaceAll(".", "/"), x]))
  expect(nn.convert(files, "keras", "effuse", heads)).toEqual(own)
})

const kinds: { readonly [name: string]: nn.Part } = {
  "block.attn": { kind: "attention", heads: N },
  "block.up": { kind: "linear" },
  "block.norm": { kind: "norm" },
  words: { kind: "embedding" }
}

const model = (layout: nn.Layout) => ({
  block: {
    attn: layers(true)[layout].params as nn.Params.Tree,
    up: nn.linear({ in: F, out: 5 }).params,
    norm: nn.layerNorm({ features: F }).params
  },
  words: nn.embedding({ words: 7, features: F }).params
})

it.each(names.flatMap((from) => names.map((to) => [from, to] as const)))(
  "%s to %s: a model's parts, and back",
  (from, to) => {
    const state = nn.convertParts(random({ params: model("torch") }), kinds, "torch", from)
    const other = nn.convertParts(state, kinds, from, to)
    expect(nn.convertParts(other, kinds, to, from)).toEqual(state)
    const inner = (of: nn.State) =>
      Object.fromEntries(
        Object.entries(of).flatMap(([n, x]) => (n.startsWith("block.attn.") ? [[n.slice(11), x]] : []))
      )
    expect(inner(other)).toEqual(nn.convert(inner(state), from, to, heads))
  }
)

it("names parts as each framework does, kernels turned", () => {
  const state = random({ params: model("torch") })
  const of = (to: nn.Layout) => {
    const found = nn.convertParts(state, kinds, "torch", to)
    return Object.entries(found).flatMap(([n, x]) =>
      n.startsWith("block.attn") ? [] : [`${n} ${x.shape.join("x")}`]
    )
  }
  expect(of("keras")).toEqual([
    ...["block.up.kernel 8x5", "block.up.bias 5", "block.norm.gamma 8", "block.norm.beta 8"],
    "words.embeddings 7x8"
  ])
  expect(of("flax")).toEqual([
    ...["block.up.kernel 8x5", "block.up.bias 5", "block.norm.scale 8", "block.norm.bias 8"],
    "words.embedding 7x8"
  ])
  expect(of("mlx")).toEqual(of("torch"))
  const [turned, own] = [
    nn.convertParts(state, kinds, "torch", "flax")["block.up.kernel"],
    state["block.up.weight"]
  ]
  expect(turned && HostArray.get(turned, 1)).toBe(own && HostArray.get(own, F))
})

it("refuses parts that are none", () => {
  const x = HostArray.zeros("f32", [2, 2])
  expect(() =>
    nn.convertParts({ "a.weight": x, b: x, "up.gamma": x }, { up: { kind: "linear" } }, "torch", "flax")
  ).toThrow("a.weight is in no part\nb is in no part")
  expect(() => nn.convertParts({ "up.gamma": x }, { up: { kind: "linear" } }, "torch", "flax")).toThrow(
    /gamma is not a parameter of torch's linear/
  )
})

it("refuses sizes that a layout cannot have", () => {
  const x = (...shape: ReadonlyArray<number>) => HostArray.zeros("f32", shape)
  expect(() => nn.convert({ in_proj_weight: x(8, 4) }, "torch", "flax", heads)).toThrow(/8 rows/)
  const other = random(nn.attention({ features: F, heads: N, headSize: 3, dtype: "f64" }))
  expect(() => nn.convert(other, "effuse", "torch", heads)).toThrow(/not 12 x 8/)
  const own = random(nn.attention({ features: F, heads: N, dtype: "f64" }))
  expect(() => nn.convert(own, "effuse", "flax", { heads: 3 })).toThrow(/8 rows do not divide by 3 heads/)
})

it("refuses what would be lost, all at once", () => {
  const gated = random(nn.attention({ features: F, heads: N, gate: true, sinks: true, dtype: "f64" }))
  expect(() => nn.convert(gated, "effuse", "mlx", heads)).toThrow(
    "gate.weight is not a parameter of mlx\ngate.bias is not a parameter of mlx\nsinks is not a parameter of mlx"
  )
  const grouped = random(nn.attention({ features: F, heads: N, kvHeads: 2, dtype: "f64" }))
  expect(() => nn.convert(grouped, "effuse", "torch", { heads: N, kvHeads: 2 })).toThrow(/not 2 for 4/)
})

it("has zeros for a bias that a packed one has and a layer has not", () => {
  const layer = nn.attention({ features: F, heads: N, bias: { key: false }, dtype: "f64" })
  const packed = nn.convert(random(layer), "effuse", "torch", heads).in_proj_bias as HostArray.HostArray
  expect(packed.shape).toEqual([3 * F])
  expect([...HostArray.toNumbers(packed)].slice(F, 2 * F)).toEqual(Array.from({ length: F }, () => 0))
})

it.each(names)("says which weights of %s are missing, all at once", (from) => {
  expect(() => nn.convert({}, from, "torch", heads)).toThrow(
    ["query", "key", "value", "out"].map((n) => `the weight of ${n} is missing`).join("\n")
  )
})
