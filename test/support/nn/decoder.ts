import type { DecoderConfig } from "../../../src/nn/models/decoderConfig.ts"
import { at, build, type Dense } from "../tensors.ts"
import { attend, type Linear } from "./attend.ts"

/** A decoder of the Llama family as loops over numbers, parameters by Hugging Face's names. */

const rms = (x: Dense, gain: Dense, epsilon: number, offset: number): Dense => {
  const F = x.shape[2] as number
  return build(x.shape, (b, t, f) => {
    let square = 0
    for (let k = 0; k < F; k++) square += at(x, b, t, k) ** 2
    return (at(x, b, t, f) / Math.sqrt(square / F + epsilon)) * (offset + at(gain, f))
  })
}

const matmul = (x: Dense, weight: Dense): Dense => {
  const [out, F] = weight.shape as [number, number]
  const [B, T] = x.shape as [number, number]
  return build([B, T, out], (b, t, o) => {
    let sum = 0
    for (let f = 0; f < F; f++) sum += at(x, b, t, f) * at(weight, o, f)
    return sum
  })
}

const zip = (a: Dense, b: Dense, f: (x: number, y: number) => number): Dense => ({
  shape: a.shape,
  data: a.data.map((x, n) => f(x, b.data[n] as number))
})

const silu = (x: number): number => x / (1 + Math.exp(-x))
const geluTanh = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))

/** Halves turned by position · base^(-2i/D). */
const turn = (head: ReadonlyArray<number>, position: number, base: number): ReadonlyArray<number> => {
  const half = head.length / 2
  return head.map((_, d) => {
    const angle = position * base ** ((-2 * (d % half)) / head.length)
    const [x, y] = [head[d % half] as number, head[(d % half) + half] as number]
    return d < half ? x * Math.cos(angle) - y * Math.sin(angle) : y * Math.cos(angle) + x * Math.sin(angle)
  })
}

export const decode = (
  config: DecoderConfig,
  p: { readonly [name: string]: Dense },
  tokens: ReadonlyArray<ReadonlyArray<number>>
): Dense => {
  const { gemma = false, epsilon = 1e-5, softcap } = config
  const named = (name: string): Dense => p[name] as Dense
  const offset = gemma ? 1 : 0
  const table = named("model.embed_tokens.weight")
  const factor = gemma ? Math.sqrt(config.features) : 1
  let x = build(
    [tokens.length, tokens[0]?.length ?? 0, config.features],
    (b, t, f) => factor * at(table, tokens[b]?.[t] as number, f)
  )
  const activation = config.activation === "geluTanh" ? geluTanh : silu
  for (let n = 0; n < config.layers; n++) {
    const own = (name: string): Dense => named(`model.layers.${n}.${name}`)
    const norm = (name: string, of: Dense): Dense => rms(of, own(`${name}.weight`), epsilon, offset)
    const linear = (name: string): Linear => ({
      weight: own(`self_attn.${name}.weight`),
      bias: p[`model.layers.${n}.self_attn.${name}.bias`]
    })
    const input = norm("input_layernorm", x)
    const window = config.windows?.[n] ?? Infinity
    const { out } = attend(
      { query: linear("q_proj"), key: linear("k_proj"), value: linear("v_proj"), out: linear("o_proj") },
      [input, input, input],
      [config.heads, config.kvHeads ?? config.heads],
      {
        ...(config.scale === undefined ? {} : { scale: config.scale }),
        score: (s) => (softcap === undefined ? s : softcap * Math.tanh(s / softcap)),
        visible: (_b, _h, i, j) => j <= i && j >= i - window,
        turn: (head, position, of) => {
          if (config.qkNorm !== true) return turn(head, position, config.rope?.base ?? 10000)
          const mean = head.reduce((s, y) => s + y * y, 0) / head.length
          const gain = own(`self_attn.${of === "query" ? "q" : "k"}_norm.weight`)
          const normed = head.map((y, d) => (y / Math.sqrt(mean + epsilon)) * at(gain, d))
          return turn(normed, position, config.rope?.base ?? 10000)
        }
      }
    )
    const feed = (y: Dense): Dense => {
      const gate = matmul(y, own("mlp.gate_proj.weight"))
      const up = matmul(y, own("mlp.up_proj.weight"))
      return matmul(
        zip(gate, up, (g, u) => activation(g) * u),
        own("mlp.down_proj.weight")
      )
    }
    const plus = (a: Dense, b: Dense): Dense => zip(a, b, (s, t) => s + t)
    if (gemma) {
      x = plus(x, norm("post_attention_layernorm", out))
      x = plus(x, norm("post_feedforward_layernorm", feed(norm("pre_feedforward_layernorm", x))))
    } else {
      x = plus(x, out)
      x = plus(x, feed(norm("post_attention_layernorm", x)))
    }
  }
  const logits = matmul(rms(x, named("model.norm.weight"), epsilon, offset), p["lm_head.weight"] ?? table)
  const cap = config.wordSoftcap
  return cap === undefined ? logits : { ...logits, data: logits.data.map((y) => cap * Math.tanh(y / cap)) }
}
