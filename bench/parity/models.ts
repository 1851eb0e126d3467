import type { DecoderConfig } from "../../src/nn/index.ts"
import * as nn from "../../src/nn/index.ts"
import { builder, type Value } from "../peers/onnxBuilder.ts"
import { attention, causalMask, type Layers, layers, type State } from "./layers.ts"

/** Models of eight kinds, small, and the same models as graphs of another engine. */

/** Inputs are whole numbers, or floats drawn at random. */
export interface Input {
  readonly shape: ReadonlyArray<number>
  /** Whole numbers below this; floats where absent. */
  readonly below?: number
}

export interface Model {
  readonly name: string
  readonly layer: { readonly params: nn.Params.Tree }
  readonly inputs: { readonly [name: string]: Input }
  readonly logits: (params: never, inputs: { readonly [name: string]: never }) => unknown
  readonly onnx: (state: State) => Uint8Array
}

const [B, T] = [2, 9]

const embedded = (l: Layers, table: string, ids: Value): Value => l.g.op("Gather", [l.weight(table), ids])

/** The first T rows of a table. */
const places = (l: Layers, table: string, count: number): Value =>
  l.g.op("Gather", [
    l.weight(table),
    l.g.constant(
      [count],
      Array.from({ length: count }, (_, n) => n),
      "int64"
    )
  ])

const tied = (l: Layers, x: Value, table: string): Value =>
  l.g.op("MatMul", [x, l.permute(l.weight(table), [1, 0])])

/** Halves turned, by angles that are constants. */
const rotary = (l: Layers, x: Value, count: number, D: number, base: number): Value => {
  const angles = (of: (angle: number) => number): Value =>
    l.g.constant(
      [T, D],
      Array.from({ length: T * D }, (_, n) =>
        of(Math.floor(n / D) * base ** ((-2 * ((n % D) % (D / 2))) / D))
      )
    )
  const [first, second] = [0, 1].map((half) =>
    l.g.op("Slice", [
      x,
      ...[half * (D / 2), (half + 1) * (D / 2), 3].map((at) => l.g.constant([1], [at], "int64"))
    ])
  ) as [Value, Value]
  const turned = l.g.op("Concat", [l.g.op("Neg", [second]), first], { axis: 3 })
  if (count < 1) throw new Error("no heads")
  return l.add(l.mul(x, angles(Math.cos)), l.mul(turned, angles(Math.sin)))
}

const decoderOnnx =
  (config: DecoderConfig) =>
  (state: State): Uint8Array => {
    const l = layers(builder(), state)
    const {
      features: F,
      heads,
      kvHeads = heads,
      headSize = F / heads,
      epsilon = 1e-5,
      gemma = false
    } = config
    const offset = gemma ? 1 : 0
    const norm = (x: Value, name: string): Value => l.rmsNorm(x, name, epsilon, offset)
    const table = "model.embed_tokens.weight"
    let x = embedded(l, table, l.g.input("tokens", "int64", [B, T]))
    if (gemma) x = l.mul(x, Math.sqrt(F))
    for (let n = 0; n < config.layers; n++) {
      const own = `model.layers.${n}`
      const y = norm(x, `${own}.input_layernorm`)
      const [q, k, v] = ["q", "k", "v"].map((p) => l.linear(y, `${own}.self_attn.${p}_proj`)) as [
        Value,
        Value,
        Value
      ]
      const attended = attention(l, [q, k, v], [B, T, T], {
        heads,
        kvHeads,
        headSize,
        ...(config.scale === undefined ? {} : { scale: config.scale }),
        softcap: config.softcap,
        turn: (h, of) => {
          const name = `${own}.self_attn.${of === "query" ? "q" : "k"}_norm`
          const normed = l.has(`${name}.weight`) ? l.rmsNorm(h, name, epsilon, 0) : h
          return rotary(l, normed, of === "query" ? heads : kvHeads, headSize, config.rope?.base ?? 10000)
        },
        mask: causalMask(l.g, T, config.windows?.[n])
      })
      const out = l.linear(attended, `${own}.self_attn.o_proj`)
      const feed = (z: Value): Value => {
        const gate = l.linear(z, `${own}.mlp.gate_proj`)
        const open = config.activation === "geluTanh" ? l.geluTanh(gate) : l.silu(gate)
        return l.linear(l.mul(open, l.linear(z, `${own}.mlp.up_proj`)), `${own}.mlp.down_proj`)
      }
      if (gemma) {
        x = l.add(x, norm(out, `${own}.post_attention_layernorm`))
        x = l.add(
          x,
          norm(feed(norm(x, `${own}.pre_feedforward_layernorm`)), `${own}.post_feedforward_layernorm`)
        )
      } else {
        x = l.add(x, out)
        x = l.add(x, feed(norm(x, `${own}.post_attention_layernorm`)))
      }
    }
    const last = norm(x, "model.norm")
    const logits = tied(l, last, l.has("lm_head.weight") ? "lm_head.weight" : table)
    const cap = config.wordSoftcap
    const capped = cap === undefined ? logits : l.mul(l.g.op("Tanh", [l.mul(logits, 1 / cap)]), cap)
    return l.g.finish(capped, [B, T, config.words])
  }

const decoder = (name: string, config: DecoderConfig): Model => {
  const layer = nn.decoder(config)
  return {
    name,
    layer,
    inputs: { tokens: { shape: [B, T], below: config.words } },
    logits: (params, { tokens }) => layer.apply(params, { tokens: tokens as never }).logits,
    onnx: decoderOnnx(config)
  }
}

const gpt2 = (): Model => {
  const [F, heads, count, words] = [48, 4, 2, 61]
  const layer = nn.gpt2({ words, positions: 32, features: F, layers: count, heads })
  return {
    name: "GPT-2",
    layer,
    inputs: { tokens: { shape: [B, T], below: words } },
    logits: (params, { tokens }) => layer.apply(params, { tokens: tokens as never }).logits,
    onnx: (state) => {
      const l = layers(builder(), state)
      let x = l.add(
        embedded(l, "wte.weight", l.g.input("tokens", "int64", [B, T])),
        places(l, "wpe.weight", T)
      )
      for (let n = 0; n < count; n++) {
        const y = l.layerNorm(x, `h.${n}.ln_1`, 1e-5)
        const all = l.conv1d(y, `h.${n}.attn.c_attn`)
        const parts = [0, 1, 2].map((p) =>
          l.g.op("Slice", [all, ...[p * F, (p + 1) * F, 2].map((at) => l.g.constant([1], [at], "int64"))])
        ) as [Value, Value, Value]
        const out = attention(l, parts, [B, T, T], { heads, headSize: F / heads, mask: causalMask(l.g, T) })
        x = l.add(x, l.conv1d(out, `h.${n}.attn.c_proj`))
        const up = l.geluTanh(l.conv1d(l.layerNorm(x, `h.${n}.ln_2`, 1e-5), `h.${n}.mlp.c_fc`))
        x = l.add(x, l.conv1d(up, `h.${n}.mlp.c_proj`))
      }
      return l.g.finish(tied(l, l.layerNorm(x, "ln_f", 1e-5), "wte.weight"), [B, T, words])
    }
  }
}

const bert = (): Model => {
  const [F, hidden, heads, count, words] = [48, 80, 4, 2, 61]
  const layer = nn.bert({ words, positions: 32, features: F, hidden, layers: count, heads })
  return {
    name: "BERT",
    layer,
    inputs: { tokens: { shape: [B, T], below: words }, kinds: { shape: [B, T], below: 2 } },
    logits: (params, { tokens, kinds }) =>
      layer.apply(params, { tokens: tokens as never, kinds: kinds as never }).hidden,
    onnx: (state) => {
      const l = layers(builder(), state)
      const e = "embeddings"
      const ids = l.g.input("tokens", "int64", [B, T])
      const kinds = l.g.input("kinds", "int64", [B, T])
      const sum = l.add(
        l.add(
          embedded(l, `${e}.word_embeddings.weight`, ids),
          places(l, `${e}.position_embeddings.weight`, T)
        ),
        embedded(l, `${e}.token_type_embeddings.weight`, kinds)
      )
      let x = l.layerNorm(sum, `${e}.LayerNorm`, 1e-12)
      for (let n = 0; n < count; n++) {
        const own = `encoder.layer.${n}`
        const qkv = ["query", "key", "value"].map((p) => l.linear(x, `${own}.attention.self.${p}`)) as [
          Value,
          Value,
          Value
        ]
        const out = attention(l, qkv, [B, T, T], { heads, headSize: F / heads })
        x = l.layerNorm(
          l.add(x, l.linear(out, `${own}.attention.output.dense`)),
          `${own}.attention.output.LayerNorm`,
          1e-12
        )
        const fed = l.linear(l.gelu(l.linear(x, `${own}.intermediate.dense`)), `${own}.output.dense`)
        x = l.layerNorm(l.add(x, fed), `${own}.output.LayerNorm`, 1e-12)
      }
      return l.g.finish(x, [B, T, F])
    }
  }
}

const vit = (): Model => {
  const [H, W, P, C, F, hidden, heads, count, labels] = [12, 18, 6, 3, 48, 80, 4, 2, 10]
  const layer = nn.vit({
    image: [H, W],
    patch: P,
    channels: C,
    features: F,
    hidden,
    layers: count,
    heads,
    labels
  })
  const tokens = (H / P) * (W / P) + 1
  return {
    name: "ViT",
    layer,
    inputs: { pixels: { shape: [B, C, H, W] } },
    logits: (params, { pixels }) => layer.apply(params, pixels as never).logits,
    onnx: (state) => {
      const l = layers(builder(), state)
      const e = "vit.embeddings"
      const pixels = l.g.input("pixels", "float", [B, C, H, W])
      const projection = `${e}.patch_embeddings.projection`
      const convolved = l.g.op(
        "Conv",
        [pixels, l.weight(`${projection}.weight`), l.weight(`${projection}.bias`)],
        {
          strides: [P, P],
          kernel_shape: [P, P]
        }
      )
      const patches = l.permute(l.reshape(convolved, [B, F, tokens - 1]), [0, 2, 1])
      const first = l.g.op("Expand", [l.weight(`${e}.cls_token`), l.g.constant([3], [B, 1, F], "int64")])
      let x = l.add(l.g.op("Concat", [first, patches], { axis: 1 }), l.weight(`${e}.position_embeddings`))
      for (let n = 0; n < count; n++) {
        const own = `vit.encoder.layer.${n}`
        const y = l.layerNorm(x, `${own}.layernorm_before`, 1e-12)
        const qkv = ["query", "key", "value"].map((p) => l.linear(y, `${own}.attention.attention.${p}`)) as [
          Value,
          Value,
          Value
        ]
        const out = attention(l, qkv, [B, tokens, tokens], { heads, headSize: F / heads })
        x = l.add(x, l.linear(out, `${own}.attention.output.dense`))
        const z = l.layerNorm(x, `${own}.layernorm_after`, 1e-12)
        x = l.add(x, l.linear(l.gelu(l.linear(z, `${own}.intermediate.dense`)), `${own}.output.dense`))
      }
      const normed = l.layerNorm(x, "vit.layernorm", 1e-12)
      const token = l.g.op("Gather", [normed, l.g.constant([], [0], "int64")], { axis: 1 })
      return l.g.finish(l.linear(token, "classifier"), [B, labels])
    }
  }
}

const whisper = (): Model => {
  const [M, S, F, heads, words] = [8, 10, 48, 4, 61]
  const layer = nn.whisper({
    mels: M,
    sourcePositions: S,
    targetPositions: 16,
    words,
    features: F,
    encoderLayers: 2,
    decoderLayers: 2,
    heads
  })
  return {
    name: "Whisper",
    layer,
    inputs: { mel: { shape: [B, M, 2 * S] }, tokens: { shape: [B, T], below: words } },
    logits: (params, { mel, tokens }) => layer.apply(params, { mel: mel as never, tokens: tokens as never }),
    onnx: (state) => {
      const l = layers(builder(), state)
      const conv = (x: Value, name: string, stride: number): Value =>
        l.gelu(
          l.g.op("Conv", [x, l.weight(`${name}.weight`), l.weight(`${name}.bias`)], {
            strides: [stride],
            pads: [1, 1],
            kernel_shape: [3]
          })
        )
      const attended = (
        name: string,
        x: Value,
        from: Value,
        length: number,
        keys: number,
        mask?: Value
      ): Value => {
        const qkv = [
          l.linear(x, `${name}.q_proj`),
          l.linear(from, `${name}.k_proj`),
          l.linear(from, `${name}.v_proj`)
        ] as const
        return l.linear(
          attention(l, qkv, [B, length, keys], { heads, headSize: F / heads, mask }),
          `${name}.out_proj`
        )
      }
      const norm = (x: Value, name: string): Value => l.layerNorm(x, name, 1e-5)
      const feed = (x: Value, own: string): Value =>
        l.add(x, l.linear(l.gelu(l.linear(norm(x, `${own}.final_layer_norm`), `${own}.fc1`)), `${own}.fc2`))
      const mel = l.g.input("mel", "float", [B, M, 2 * S])
      const heard = l.permute(conv(conv(mel, "model.encoder.conv1", 1), "model.encoder.conv2", 2), [0, 2, 1])
      let x = l.add(heard, l.weight("model.encoder.embed_positions.weight"))
      for (const n of [0, 1]) {
        const own = `model.encoder.layers.${n}`
        const y = norm(x, `${own}.self_attn_layer_norm`)
        x = feed(l.add(x, attended(`${own}.self_attn`, y, y, S, S)), own)
      }
      const encoded = norm(x, "model.encoder.layer_norm")
      const table = "model.decoder.embed_tokens.weight"
      const ids = l.g.input("tokens", "int64", [B, T])
      let w = l.add(embedded(l, table, ids), places(l, "model.decoder.embed_positions.weight", T))
      for (const n of [0, 1]) {
        const own = `model.decoder.layers.${n}`
        const y = norm(w, `${own}.self_attn_layer_norm`)
        w = l.add(w, attended(`${own}.self_attn`, y, y, T, T, causalMask(l.g, T)))
        const z = norm(w, `${own}.encoder_attn_layer_norm`)
        w = feed(l.add(w, attended(`${own}.encoder_attn`, z, encoded, T, S)), own)
      }
      return l.g.finish(tied(l, norm(w, "model.decoder.layer_norm"), table), [B, T, words])
    }
  }
}

const base = { words: 61, features: 48, hidden: 80, layers: 2, heads: 4, kvHeads: 2, epsilon: 1e-5 } as const

export const models: ReadonlyArray<Model> = [
  decoder("Llama", { ...base, rope: { base: 500 } }),
  decoder("Qwen 2", { ...base, qkvBias: true, tied: true }),
  decoder("Qwen 3", { ...base, qkNorm: true, headSize: 16 }),
  decoder("Gemma 2", {
    ...base,
    headSize: 16,
    gemma: true,
    tied: true,
    activation: "geluTanh",
    softcap: 50,
    wordSoftcap: 30,
    scale: 0.2,
    windows: [3, undefined]
  }),
  gpt2(),
  bert(),
  vit(),
  whisper()
]
