import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import type { Backend, DeviceArray } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { download } from "../../../src/transfer.ts"

const root = mkdtempSync(join(tmpdir(), "effuse-pretrained-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Backend>) =>
  Effect.runPromise(effect.pipe(Effect.provide(Reference.layer)))

const sizes = { hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2 }

/** What `config.json` of each family holds, but small. */
const files = {
  decoder: { ...sizes, model_type: "qwen2", vocab_size: 11, num_key_value_heads: 1, rms_norm_eps: 1e-6 },
  gpt2: {
    ...{ model_type: "gpt2", vocab_size: 11, n_positions: 16, n_embd: 8, n_layer: 2, n_head: 2 },
    ...{ n_inner: null, activation_function: "gelu_new", layer_norm_epsilon: 1e-5 }
  },
  bert: {
    ...{ ...sizes, model_type: "bert", vocab_size: 11, max_position_embeddings: 16, type_vocab_size: 2 },
    ...{ hidden_act: "gelu", layer_norm_eps: 1e-12, position_embedding_type: "absolute" }
  },
  vit: {
    ...{ ...sizes, model_type: "vit", image_size: 8, patch_size: 4, num_channels: 1, qkv_bias: true },
    ...{ id2label: { 0: "cat", 1: "dog", 2: "bird" }, hidden_act: "gelu", layer_norm_eps: 1e-12 }
  },
  whisper: {
    ...{ model_type: "whisper", d_model: 8, num_mel_bins: 4, vocab_size: 11, activation_function: "gelu" },
    ...{ encoder_layers: 1, decoder_layers: 1, encoder_attention_heads: 2, decoder_attention_heads: 2 },
    ...{ encoder_ffn_dim: 12, decoder_ffn_dim: 12, max_source_positions: 6, max_target_positions: 8 },
    scale_embedding: false
  }
} as const

const without = (json: object, name: string) =>
  Object.fromEntries(Object.entries(json).filter(([n]) => n !== name))

/** Writes a folder of a model whose names a file renames, and opens it. */
const folder = async (
  name: string,
  json: object,
  file: (values: nn.State) => nn.State = (values) => values
) => {
  const path = join(root, name)
  const values = nn.Params.flatten(nn.modelOf(json as never).model.init(2))
  await Effect.runPromise(nn.saveFolder(path, file(values), { dtype: "bf16", maxBytes: 1500 }))
  writeFileSync(join(path, "config.json"), JSON.stringify(json))
  return { path, values }
}

const loadedFrom = (path: string) =>
  run(
    Effect.gen(function* () {
      const { load } = yield* nn.openFolder(path)
      const arrays = yield* nn.loaded(load())
      return yield* Effect.all(
        Object.fromEntries(Object.entries(arrays).map(([n, a]: [string, DeviceArray]) => [n, download(a)]))
      )
    }).pipe(Effect.scoped)
  )

const rounded = (values: nn.State): nn.State =>
  Object.fromEntries(
    Object.entries(values).map(([n, x]) => {
      const half = HostArray.fromNumbers("bf16", x.shape, HostArray.toNumbers(x))
      return [n, HostArray.fromNumbers("f32", x.shape, HostArray.toNumbers(half))]
    })
  )

describe("a folder of Hugging Face", () => {
  it.each(Object.entries(files))(
    "%s: its config says the model, its shards the parameters",
    async (kind, json) => {
      const { path, values } = await folder(kind, json)
      const opened = await Effect.runPromise(nn.openFolder(path))
      expect(opened.kind).toBe(kind)
      expect(await loadedFrom(path)).toEqual(rounded(values))
    }
  )

  it("brings parameters in the dtype that is asked for", async () => {
    const { path } = await folder("half", files.gpt2)
    const dtypes = await run(
      Effect.gen(function* () {
        const { load } = yield* nn.openFolder(path, { dtype: "bf16" })
        return Object.values(yield* nn.loaded(load())).map((x) => x.dtype)
      }).pipe(Effect.scoped)
    )
    expect(new Set(dtypes)).toEqual(new Set(["bf16"]))
  })

  const moved =
    (prefix: string, more: nn.State = {}) =>
    (values: nn.State): nn.State => ({
      ...Object.fromEntries(Object.entries(values).map(([n, x]) => [prefix + n, x])),
      ...more
    })
  const scalar = HostArray.zeros("f32", [1])

  it("finds the parameters under the names that a larger model has for them", async () => {
    const gpt2 = await folder(
      "gpt2-lm",
      files.gpt2,
      moved("transformer.", { "transformer.h.0.attn.bias": scalar, "lm_head.weight": scalar })
    )
    expect(await loadedFrom(gpt2.path)).toEqual(rounded(gpt2.values))
    const old = (values: nn.State) =>
      Object.fromEntries(
        Object.entries(moved("bert.", { "cls.predictions.bias": scalar })(values)).map(([n, x]) => [
          n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
          x
        ])
      )
    const bert = await folder("bert-old", files.bert, old)
    expect(await loadedFrom(bert.path)).toEqual(rounded(bert.values))
  })

  it("says what is missing and what is in excess", async () => {
    const { path } = await folder(
      "gpt2-wrong",
      files.gpt2,
      (values) =>
        ({
          ...without(values, "h.1.ln_2.bias"),
          other: scalar
        }) as nn.State
    )
    const failed = await run(
      Effect.flip(
        nn.openFolder(path).pipe(
          Effect.flatMap(({ load }) => nn.loaded(load())),
          Effect.scoped
        )
      )
    )
    expect(failed.message).toBe("h.1.ln_2.bias is missing\nother is not known")
  })

  it("says which file there is not, and what is no configuration", async () => {
    const failed = (path: string) => Effect.runPromise(Effect.flip(nn.openFolder(path)))
    expect((await failed(join(root, "none"))).message).toMatch(/none\/config.json: ENOENT/)
    const { path } = await folder("text", files.gpt2)
    for (const [text, message] of [
      ["{", /config.json: /],
      ["null", /model_type is undefined/],
      ['{"model_type":"toString"}', /model_type is "toString"/]
    ] as const) {
      writeFileSync(join(path, "config.json"), text)
      expect((await failed(path)).message).toMatch(message)
    }
  })
})

describe("a configuration", () => {
  it.each([
    ["gpt2", { scale_attn_by_inverse_layer_idx: true }, /scale_attn_by_inverse_layer_idx is on/],
    ["gpt2", { n_embd: "8" }, /n_embd is "8"/],
    ["gpt2", { activation_function: "mish" }, /activation "mish"/],
    ["gpt2", { tie_word_embeddings: false }, /tie_word_embeddings is false/],
    ["whisper", { tie_word_embeddings: false }, /tie_word_embeddings is false/],
    ["bert", { position_embedding_type: "relative_key" }, /position_embedding_type is "relative_key"/],
    ["bert", { is_decoder: true }, /is_decoder is on/],
    ["vit", { qkv_bias: false }, /qkv_bias is false/],
    ["whisper", { decoder_attention_heads: 4 }, /decoder_attention_heads is 4/],
    ["whisper", { scale_embedding: true }, /scale_embedding is true/],
    ["decoder", { mlp_bias: true }, /mlp_bias is on/],
    ["decoder", { rope_scaling: { type: "longrope", factor: 2 } }, /type "longrope"/]
  ] as const)("of %s with %j is refused", (kind, change, message) => {
    expect(() => nn.modelOf({ ...files[kind], ...change })).toThrow(message)
  })

  it("gives a window to the layers that have one", () => {
    const windows = (json: object) =>
      nn.decoderConfig({ ...files.decoder, sliding_window: 4, ...json } as never).windows
    expect(windows({})).toBeUndefined()
    expect(windows({ use_sliding_window: true, max_window_layers: 1 })).toEqual([undefined, 3])
    const layer_types = ["sliding_attention", "full_attention"]
    expect(windows({ use_sliding_window: true, layer_types })).toEqual([3, undefined])
    expect(windows({ model_type: "mistral" })).toEqual([3, 3])
    expect(windows({ model_type: "gemma2" })).toEqual([3, undefined])
  })

  it("reads rotary positions as files old and new have them", () => {
    const rope = (json: object) => nn.decoderConfig({ ...files.decoder, ...json } as never).rope
    expect(rope({ rope_theta: 7 })).toEqual({ base: 7, dims: undefined, scaling: undefined })
    expect(rope({ rope_parameters: { rope_type: "default", rope_theta: 9 } })?.base).toBe(9)
    expect(rope({ rope_parameters: { rope_type: "linear", factor: 2, rope_theta: 9 } })?.scaling).toEqual({
      kind: "linear",
      factor: 2
    })
    const yarn = { rope_type: "yarn", factor: 4 }
    expect(rope({ rope_scaling: yarn, max_position_embeddings: 32 })?.scaling).toMatchObject({ trained: 32 })
    expect(rope({ partial_rotary_factor: 0.5 })?.dims).toBe(2)
  })
})
