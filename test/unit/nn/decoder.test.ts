import { describe, expect, it } from "vitest"
import * as nn from "../../../src/nn/index.ts"
import { decode } from "../../support/nn/decoder.ts"
import { prepare } from "../../support/nn/face.ts"
import { bound, dense, expectDense, run } from "../../support/tensors.ts"

const tokens = [
  [3, 1, 4, 1, 5],
  [9, 2, 6, 5, 3]
]

const base = {
  vocab_size: 11,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-5,
  hidden_act: "silu",
  max_position_embeddings: 64,
  rope_theta: 100
}

/** What `config.json` of each family holds, but small. */
const files: { readonly [name: string]: { readonly [name: string]: unknown } } = {
  llama: { ...base, model_type: "llama" },
  "llama, tied": { ...base, model_type: "llama", tie_word_embeddings: true, attention_bias: true },
  mistral: { ...base, model_type: "mistral", sliding_window: 3, head_dim: 6 },
  "qwen 2": { ...base, model_type: "qwen2", use_sliding_window: false, sliding_window: 2 },
  "qwen 3": { ...base, model_type: "qwen3", head_dim: 4 },
  "gemma 2": {
    ...base,
    model_type: "gemma2",
    head_dim: 4,
    hidden_activation: "gelu_pytorch_tanh",
    sliding_window: 2,
    query_pre_attn_scalar: 9,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30
  }
}

describe("a decoder", () => {
  it.each(Object.entries(files))("%s: as the loops say", (_, file) => {
    const config = { ...nn.decoderConfig(file), dtype: "f64" } as const
    const { values, bounds, give, apply } = prepare(nn.decoder(config))
    const ids = give(bound("i32", dense([2, 5], tokens.flat())))
    expectDense(run(apply({ tokens: ids }).logits, bounds), decode(config, values, tokens))
  })

  it("takes Gemma's activation where its file names none", () => {
    const { hidden_activation: _, hidden_act: __, ...file } = files["gemma 2"] as Record<string, unknown>
    expect(nn.decoderConfig(file).activation).toBe("geluTanh")
  })

  it("has the names of Hugging Face", () => {
    const names = (file: string) =>
      Object.keys(nn.Params.signature(nn.decoder(nn.decoderConfig(files[file] as never)).params)).filter(
        (n) => !n.includes(".1.")
      )
    const layer = (rest: ReadonlyArray<string>) => rest.map((n) => `model.layers.0.${n}`)
    expect(names("llama")).toEqual([
      "model.embed_tokens.weight",
      ...layer([
        "input_layernorm.weight",
        "self_attn.q_proj.weight",
        "self_attn.k_proj.weight",
        "self_attn.v_proj.weight",
        "self_attn.o_proj.weight",
        "post_attention_layernorm.weight",
        "mlp.gate_proj.weight",
        "mlp.up_proj.weight",
        "mlp.down_proj.weight"
      ]),
      "model.norm.weight",
      "lm_head.weight"
    ])
    expect(names("qwen 2")).toContain("model.layers.0.self_attn.q_proj.bias")
    expect(names("qwen 3")).toContain("model.layers.0.self_attn.k_norm.weight")
    expect(names("gemma 2")).toContain("model.layers.0.pre_feedforward_layernorm.weight")
    expect(names("gemma 2")).not.toContain("lm_head.weight")
  })

  it("refuses sizes that mean nothing", () => {
    const good = nn.decoderConfig({ ...base, model_type: "llama" })
    expect(() => nn.decoder({ ...good, layers: -1 })).toThrow(/layers is -1/)
    expect(() => nn.decoder({ ...good, layers: 1.5 })).toThrow(/layers is 1.5/)
    expect(() => nn.decoder({ ...good, words: 0 })).toThrow(/words is 0/)
    expect(() => nn.decoder({ ...good, windows: [1, 2, 3] })).toThrow(/3 windows for 2 layers/)
  })

  it("says what of a configuration it does not know", () => {
    expect(() => nn.decoderConfig({ ...base, model_type: "gpt2" })).toThrow(/model_type is "gpt2"/)
    const { hidden_size: _, ...without } = { ...base, model_type: "llama" }
    expect(() => nn.decoderConfig(without)).toThrow(/hidden_size is missing/)
    expect(() => nn.decoderConfig({ ...base, model_type: "llama", hidden_act: "mish" })).toThrow(
      /activation "mish"/
    )
    const scaling = { rope_type: "dynamic", factor: 2 }
    expect(() => nn.decoderConfig({ ...base, model_type: "llama", rope_scaling: scaling })).toThrow(
      /changes with the length/
    )
  })
})
