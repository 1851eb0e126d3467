import { expect, it } from "vitest"
import * as nn from "../../../src/nn/index.ts"
import type { Linear } from "../../support/nn/attend.ts"
import { prepare } from "../../support/nn/face.ts"
import * as Loops from "../../support/nn/loops.ts"
import { at, bound, build, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

type Values = { readonly [name: string]: Dense }

const tokens = [
  [3, 1, 4, 1],
  [5, 9, 2, 6]
]
const ids = (rows: ReadonlyArray<ReadonlyArray<number>>) =>
  bound("i32", dense([rows.length, rows[0]?.length ?? 0], rows.flat()))

const named = (p: Values, name: string): Linear => ({
  weight: p[`${name}.weight`] as Dense,
  bias: p[`${name}.bias`]
})

const predicted = (x: Dense, table: Dense): Dense => Loops.linear(x, { weight: table })

it("GPT-2: as the loops say", () => {
  const F = 8
  const {
    values: p,
    bounds,
    give,
    apply
  } = prepare(nn.gpt2({ words: 11, positions: 6, features: F, layers: 2, heads: 2, dtype: "f64" }))
  const { logits } = apply({ tokens: give(ids(tokens)) })
  const turned = (name: string): Linear => {
    const own = named(p, name)
    return { weight: Loops.transposed(own.weight), bias: own.bias }
  }
  const third = (name: string, n: number): Linear => {
    const { weight, bias } = turned(name)
    return {
      weight: build([F, F], (o, i) => at(weight, n * F + o, i)),
      bias: build([F], (o) => at(bias as Dense, n * F + o))
    }
  }
  const table = p["wte.weight"] as Dense
  let x = Loops.plus(
    Loops.rows(table, tokens),
    Loops.rows(
      p["wpe.weight"] as Dense,
      [0, 1].map(() => [0, 1, 2, 3])
    )
  )
  for (const n of [0, 1]) {
    const own = `h.${n}`
    const attn = `${own}.attn.c_attn`
    const parameters = {
      attention: {
        query: third(attn, 0),
        key: third(attn, 1),
        value: third(attn, 2),
        out: turned(`${own}.attn.c_proj`)
      },
      attentionNorm: named(p, `${own}.ln_1`),
      up: turned(`${own}.mlp.c_fc`),
      down: turned(`${own}.mlp.c_proj`),
      mlpNorm: named(p, `${own}.ln_2`)
    }
    x = Loops.block(x, parameters, {
      heads: 2,
      epsilon: 1e-5,
      normFirst: true,
      causal: true,
      activation: Loops.geluTanh
    })
  }
  expectDense(run(logits, bounds), predicted(Loops.layerNorm(x, named(p, "ln_f"), 1e-5), table))
})

it("BERT: as the loops say, padding unseen", () => {
  const {
    values: p,
    bounds,
    give,
    apply
  } = prepare(
    nn.bert({
      words: 11,
      positions: 6,
      features: 8,
      hidden: 12,
      layers: 2,
      heads: 2,
      epsilon: 1e-3,
      dtype: "f64"
    })
  )
  const kinds = [
    [0, 0, 1, 1],
    [0, 1, 1, 1]
  ]
  const mask = [
    [1, 1, 1, 0],
    [1, 1, 0, 0]
  ]
  const { hidden, pooled } = apply({
    tokens: give(ids(tokens)),
    kinds: give(ids(kinds)),
    mask: give(ids(mask))
  })
  const table = (name: string): Dense => p[`embeddings.${name}.weight`] as Dense
  const parts = [
    Loops.rows(table("word_embeddings"), tokens),
    Loops.rows(
      table("position_embeddings"),
      [0, 1].map(() => [0, 1, 2, 3])
    ),
    Loops.rows(table("token_type_embeddings"), kinds)
  ]
  let x = Loops.layerNorm(parts.reduce(Loops.plus), named(p, "embeddings.LayerNorm"), 1e-3)
  for (const n of [0, 1]) {
    const own = `encoder.layer.${n}`
    const self = `${own}.attention.self`
    const parameters = {
      attention: {
        query: named(p, `${self}.query`),
        key: named(p, `${self}.key`),
        value: named(p, `${self}.value`),
        out: named(p, `${own}.attention.output.dense`)
      },
      attentionNorm: named(p, `${own}.attention.output.LayerNorm`),
      up: named(p, `${own}.intermediate.dense`),
      down: named(p, `${own}.output.dense`),
      mlpNorm: named(p, `${own}.output.LayerNorm`)
    }
    x = Loops.block(x, parameters, {
      heads: 2,
      epsilon: 1e-3,
      normFirst: false,
      activation: Loops.gelu,
      visible: (b, j) => mask[b]?.[j] === 1
    })
  }
  expectDense(run(hidden, bounds), x)
  const first = build([2, 1, 8], (b, _t, f) => at(x, b, 0, f))
  const expected = Loops.map(Loops.linear(first, named(p, "pooler.dense")), Math.tanh)
  expectDense(run(pooled, bounds), dense([2, 8], expected.data))
})

it("ViT: as the loops say, patches by their positions", () => {
  const [B, C, H, W, P, F] = [2, 2, 4, 6, 2, 8]
  const {
    values: p,
    bounds,
    give,
    apply
  } = prepare(
    nn.vit({
      image: [H, W],
      patch: P,
      channels: C,
      features: F,
      hidden: 12,
      layers: 1,
      heads: 2,
      labels: 5,
      epsilon: 1e-3,
      dtype: "f64"
    })
  )
  const pixels = randomDense(9, [B, C, H, W])
  const { logits } = apply(give(bound("f64", pixels)))
  const e = "vit.embeddings"
  const weight = p[`${e}.patch_embeddings.projection.weight`] as Dense
  const bias = p[`${e}.patch_embeddings.projection.bias`] as Dense
  const place = p[`${e}.position_embeddings`] as Dense
  const x = build([B, 7, F], (b, t, f) => {
    if (t === 0) return at(p[`${e}.cls_token`] as Dense, 0, 0, f) + at(place, 0, 0, f)
    const [row, column] = [Math.floor((t - 1) / 3), (t - 1) % 3]
    let sum = at(bias, f) + at(place, 0, t, f)
    for (let c = 0; c < C; c++)
      for (let y = 0; y < P; y++)
        for (let z = 0; z < P; z++)
          sum += at(pixels, b, c, row * P + y, column * P + z) * at(weight, f, c, y, z)
    return sum
  })
  const own = "vit.encoder.layer.0"
  const self = `${own}.attention.attention`
  const out = Loops.block(
    x,
    {
      attention: {
        query: named(p, `${self}.query`),
        key: named(p, `${self}.key`),
        value: named(p, `${self}.value`),
        out: named(p, `${own}.attention.output.dense`)
      },
      attentionNorm: named(p, `${own}.layernorm_before`),
      up: named(p, `${own}.intermediate.dense`),
      down: named(p, `${own}.output.dense`),
      mlpNorm: named(p, `${own}.layernorm_after`)
    },
    { heads: 2, epsilon: 1e-3, normFirst: true, activation: Loops.gelu }
  )
  const normed = Loops.layerNorm(out, named(p, "vit.layernorm"), 1e-3)
  const first = build([B, 1, F], (b, _t, f) => at(normed, b, 0, f))
  expectDense(run(logits, bounds), dense([B, 5], Loops.linear(first, named(p, "classifier")).data))
  expect(() =>
    nn.vit({ image: [5, 4], patch: 2, features: F, hidden: 1, layers: 1, heads: 2, labels: 1 })
  ).toThrow(/5 x 4 does not divide into patches of 2 x 2/)
})

it("Whisper: as the loops say", () => {
  const [B, M, S, F] = [2, 3, 4, 8]
  const layer = nn.whisper({
    mels: M,
    sourcePositions: S,
    targetPositions: 6,
    words: 11,
    features: F,
    encoderLayers: 1,
    decoderLayers: 2,
    heads: 2,
    dtype: "f64"
  })
  const { values: p, bounds, give, apply } = prepare(layer)
  const mel = randomDense(9, [B, M, 2 * S])
  const heard = give(bound("f64", mel))
  const logits = run(apply({ mel: heard, tokens: give(ids(tokens)) }), bounds)
  const conv = (x: Dense, name: string, stride: number): Dense => {
    const { weight, bias } = named(p, name)
    const [T, I] = [x.shape[1] as number, x.shape[2] as number]
    return build([B, T / stride, F], (b, t, o) => {
      let sum = at(bias as Dense, o)
      for (let k = 0; k < 3; k++) {
        const from = t * stride + k - 1
        if (from < 0 || from >= T) continue
        for (let i = 0; i < I; i++) sum += at(x, b, from, i) * at(weight, o, i, k)
      }
      return sum
    })
  }
  const projections = (name: string) => ({
    query: named(p, `${name}.q_proj`),
    key: named(p, `${name}.k_proj`),
    value: named(p, `${name}.v_proj`),
    out: named(p, `${name}.out_proj`)
  })
  const parameters = (own: string, cross: boolean): Loops.Block => ({
    attention: projections(`${own}.self_attn`),
    attentionNorm: named(p, `${own}.self_attn_layer_norm`),
    ...(cross
      ? { cross: projections(`${own}.encoder_attn`), crossNorm: named(p, `${own}.encoder_attn_layer_norm`) }
      : {}),
    up: named(p, `${own}.fc1`),
    down: named(p, `${own}.fc2`),
    mlpNorm: named(p, `${own}.final_layer_norm`)
  })
  const options = { heads: 2, epsilon: 1e-5, normFirst: true, activation: Loops.gelu }
  const frames = build([B, 2 * S, M], (b, t, m) => at(mel, b, m, t))
  const once = Loops.map(conv(frames, "model.encoder.conv1", 1), Loops.gelu)
  const twice = Loops.map(conv(once, "model.encoder.conv2", 2), Loops.gelu)
  const place = Loops.rows(
    p["model.encoder.embed_positions.weight"] as Dense,
    [0, 1].map(() => [0, 1, 2, 3])
  )
  const encoder = Loops.block(Loops.plus(twice, place), parameters("model.encoder.layers.0", false), options)
  const encoded = Loops.layerNorm(encoder, named(p, "model.encoder.layer_norm"), 1e-5)
  const table = p["model.decoder.embed_tokens.weight"] as Dense
  let x = Loops.plus(
    Loops.rows(table, tokens),
    Loops.rows(
      p["model.decoder.embed_positions.weight"] as Dense,
      [0, 1].map(() => [0, 1, 2, 3])
    )
  )
  for (const n of [0, 1])
    x = Loops.block(x, parameters(`model.decoder.layers.${n}`, true), { ...options, causal: true }, encoded)
  expectDense(logits, predicted(Loops.layerNorm(x, named(p, "model.decoder.layer_norm"), 1e-5), table))
})

it("sinusoidal positions: interleaved as the paper, in halves as Whisper", () => {
  const paper = run(nn.sinusoidal(5, 6))
  const halves = run(nn.sinusoidal(5, 6, { halves: true }))
  for (let t = 0; t < 5; t++) {
    for (let i = 0; i < 3; i++) {
      const [a, b] = [t / 10000 ** (i / 3), t * Math.exp((-Math.log(10000) / 2) * i)]
      expect(at(paper, t, 2 * i)).toBeCloseTo(Math.sin(a), 6)
      expect(at(paper, t, 2 * i + 1)).toBeCloseTo(Math.cos(a), 6)
      expect(at(halves, t, i)).toBeCloseTo(Math.sin(b), 6)
      expect(at(halves, t, 3 + i)).toBeCloseTo(Math.cos(b), 6)
    }
  }
})
