import { describe, expect, it } from "vitest"
import * as Mask from "../../../src/Mask.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Score from "../../../src/Score.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import type { Linear } from "../../support/nn/attend.ts"
import { prepare } from "../../support/nn/face.ts"
import { type Block, block, gelu, layerNorm, type Options } from "../../support/nn/loops.ts"
import { at, bound, build, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [B, T, S, F, H] = [2, 4, 3, 8, 2]

type Values = { readonly [name: string]: Dense }

const linear = (p: Values, name: string): Linear => ({
  weight: p[`${name}.weight`] as Dense,
  bias: p[`${name}.bias`]
})

const attention = (p: Values, name: string) => ({
  query: linear(p, `${name}.query_proj`),
  key: linear(p, `${name}.key_proj`),
  value: linear(p, `${name}.value_proj`),
  out: linear(p, `${name}.out_proj`)
})

/** MLX's parameters, whose names begin with `prefix`, as a block of the loops; a decoder's second norm is that of its memory. */
const blockOf = (p: Values, prefix: string, decoder: boolean): Block => {
  const own = (name: string): Linear => linear(p, prefix + name)
  return {
    attention: attention(p, `${prefix}${decoder ? "self_attention" : "attention"}`),
    attentionNorm: own("ln1"),
    ...(decoder ? { cross: attention(p, `${prefix}cross_attention`), crossNorm: own("ln2") } : {}),
    up: own("linear1"),
    down: own("linear2"),
    mlpNorm: own(decoder ? "ln3" : "ln2")
  }
}

const relu = (x: number): number => Math.max(x, 0)
const loops: Options = { heads: H, epsilon: 1e-5, normFirst: true, activation: relu }
const exact = { dtype: "f64" } as const
const give3 = (give: (x: ReturnType<typeof bound>) => Tensor.Tensor, x: Dense) => give(bound("f64", x))

describe("mlx.TransformerEncoder", () => {
  it.each([
    ["norms first, relu, four times the features", {}, loops],
    ["norms behind the sum", { normFirst: false }, { ...loops, normFirst: false }],
    ["gelu", { activation: nn.activations.gelu, mlpDims: 5 }, { ...loops, activation: gelu }]
  ] as const)("%s", (_, options, own) => {
    const layers = nn.mlx.TransformerEncoder(2, F, H, { ...exact, ...options })
    const { values, bounds, give, apply } = prepare(layers)
    const x = randomDense(1, [B, T, F])
    const out = apply({ x: give3(give, x), mask: Mask.causal })
    const all = { ...own, causal: true }
    const last = [0, 1].reduce((y, n) => block(y, blockOf(values, `layers.${n}.`, false), all), x)
    expectDense(run(out, bounds), layerNorm(last, linear(values, "ln"), 1e-5))
  })

  it("has MLX's parameters", () => {
    const { params } = nn.mlx.TransformerEncoderLayer(F, H)
    expect(Object.entries(nn.Params.signature(params)).map(([n, s]) => `${n} ${s.shape.join("x")}`)).toEqual([
      ...["query", "key", "value", "out"].map((n) => `attention.${n}_proj.weight 8x8`),
      ...["ln1.weight 8", "ln1.bias 8", "ln2.weight 8", "ln2.bias 8"],
      ...["linear1.weight 32x8", "linear1.bias 32", "linear2.weight 8x32", "linear2.bias 8"]
    ])
  })

  it("drops in training only, each layer by draws of its own", () => {
    const { bounds, give, apply } = prepare(nn.mlx.TransformerEncoder(2, F, H, { ...exact, dropout: 0.5 }))
    const x = give3(give, randomDense(1, [B, T, F]))
    const of = (inputs: object) => run(apply({ x, ...inputs }), bounds).data
    expect(of({ seed: 1 })).toEqual(of({}))
    expect(of({ training: true, seed: 1 })).toEqual(of({ training: true, seed: 1 }))
    expect(of({ training: true, seed: 1 })).not.toEqual(of({ training: true, seed: 2 }))
    expect(of({ training: true, seed: 1 })).not.toEqual(of({}))
    expect(() => apply({ x, training: true })).toThrow(/needs a seed/)
  })
})

describe("mlx.TransformerDecoder", () => {
  it.each([true, false])("norms first: %s, with masks of both", (normFirst) => {
    const { values, bounds, give, apply } = prepare(
      nn.mlx.TransformerDecoder(2, F, H, { ...exact, normFirst })
    )
    const [x, memory] = [randomDense(1, [B, T, F]), randomDense(2, [B, S, F])]
    const seen = [1, 0, 1, 1, 1, 0]
    const out = apply({
      x: give3(give, x),
      memory: give3(give, memory),
      xMask: nn.mlx.createAdditiveCausalMask(T, "f64"),
      memoryMask: give(bound("bool", dense([B, 1, 1, S], seen)))
    })
    const own = { ...loops, normFirst, causal: true, met: (b: number, j: number) => seen[b * S + j] === 1 }
    const last = [0, 1].reduce((y, n) => block(y, blockOf(values, `layers.${n}.`, true), own, memory), x)
    expectDense(run(out, bounds), layerNorm(last, linear(values, "ln"), 1e-5))
  })
})

it("mlx.Transformer decodes what its encoder gives", () => {
  const options = { ...exact, dims: F, numHeads: H, numEncoderLayers: 1, numDecoderLayers: 1 }
  const { values, bounds, give, apply } = prepare(nn.mlx.Transformer(options))
  const [src, tgt] = [randomDense(1, [B, S, F]), randomDense(2, [B, T, F])]
  const out = apply({ src: give3(give, src), tgt: give3(give, tgt), tgtMask: Mask.causal })
  const norm = (x: Dense, name: string): Dense => layerNorm(x, linear(values, name), 1e-5)
  const memory = norm(block(src, blockOf(values, "encoder.layers.0.", false), loops), "encoder.ln")
  const own = blockOf(values, "decoder.layers.0.", true)
  expectDense(run(out, bounds), norm(block(tgt, own, { ...loops, causal: true }, memory), "decoder.ln"))
  const { params } = nn.mlx.Transformer()
  expect(params.encoder.layers).toHaveLength(6)
  expect(params.encoder.layers[0]?.linear1.weight.spec.shape).toEqual([2048, 512])
  expect(() => nn.mlx.TransformerEncoder(1, F, H, { checkpoint: true } as never)).toThrow(/differentiated/)
})

describe("MLX's positions", () => {
  it("ALiBi takes off what is far, on both sides", () => {
    const [N, offset] = [3, 2]
    const x = randomDense(1, [B, N, T, S])
    const mask = randomDense(2, [T, S])
    const [scores, own] = [bound("f64", x), bound("f64", mask)]
    const slopes = Score.alibiSlopes(N)
    expectDense(
      run(nn.mlx.ALiBi(scores.tensor, { offset, mask: own.tensor }), [scores, own]),
      build(
        x.shape,
        (b, h, i, j) => at(x, b, h, i, j) - (slopes[h] as number) * Math.abs(i + offset - j) + at(mask, i, j)
      )
    )
  })

  it.each([true, false])("RoPE turns pairs, neighbours: %s", (traditional) => {
    const x = randomDense(1, [B, T, 6])
    const own = bound("f64", x)
    const turned = nn.mlx.RoPE(4, { traditional, base: 100, scale: 0.5 })(own.tensor, 3)
    expectDense(
      run(turned, [own]),
      build(x.shape, (b, t, d) => {
        if (d >= 4) return at(x, b, t, d)
        const pair = traditional ? Math.floor(d / 2) : d % 2
        const first = traditional ? d % 2 === 0 : d < 2
        const other = traditional ? (first ? d + 1 : d - 1) : first ? d + 2 : d - 2
        const angle = 0.5 * (t + 3) * 100 ** ((-2 * pair) / 4)
        return at(x, b, t, d) * Math.cos(angle) + (first ? -1 : 1) * at(x, b, t, other) * Math.sin(angle)
      })
    )
  })

  it.each([
    [{}, Math.sqrt(2 / 6), false, 1],
    [{ cosFirst: true, fullTurns: true, scale: 1, minFreq: 0.01, maxFreq: 2 }, 1, true, 2 * Math.PI]
  ] as const)("sines and cosines with %j", (options, scale, cosFirst, turns) => {
    const x = randomDense(1, [B, T])
    const own = bound("f64", x)
    const { minFreq = 0.0001, maxFreq = 1 }: { minFreq?: number; maxFreq?: number } = options
    expectDense(
      run(nn.mlx.SinusoidalPositionalEncoding(6, options)(own.tensor), [own]),
      build([B, T, 6], (b, t, d) => {
        const frequency = Math.exp(
          (1 - (d % 3) / 2) * (Math.log(maxFreq) - Math.log(minFreq)) + Math.log(minFreq)
        )
        const angle = at(x, b, t) * frequency * turns
        return scale * (d < 3 === cosFirst ? Math.cos(angle) : Math.sin(angle))
      })
    )
  })
})
