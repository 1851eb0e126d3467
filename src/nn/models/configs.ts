import type { BertConfig } from "./bert.ts"
import { type Json, reader } from "./configFile.ts"
import type { Gpt2Config } from "./gpt2.ts"
import type { VitConfig } from "./vit.ts"
import type { WhisperConfig } from "./whisper.ts"

/**
 * Configurations of models as Hugging Face writes them in `config.json`. Each throws `AttrError` for what is missing and for what the model here
 * does not have, by name.
 */

/** `model_type` gpt2. */
export const gpt2Config = (json: Json): Gpt2Config => {
  const { number, optional, activation, only, never } = reader("gpt2", json)
  only("scale_attn_weights", true, "scale attention in a model of your own")
  only("tie_word_embeddings", true, "words are embedded and predicted by one table here")
  never("scale_attn_by_inverse_layer_idx", "layers share one scale here")
  never("add_cross_attention", "use transformerLayer with { cross: true }")
  return {
    words: number("vocab_size"),
    positions: number("n_positions"),
    features: number("n_embd"),
    layers: number("n_layer"),
    heads: number("n_head"),
    hidden: optional("n_inner"),
    epsilon: optional("layer_norm_epsilon") ?? 1e-5,
    activation: activation(["activation_function"], "geluTanh")
  }
}

/** `model_type` bert. */
export const bertConfig = (json: Json): BertConfig => {
  const { number, optional, activation, only, never } = reader("bert", json)
  only("position_embedding_type", "absolute", "positions are learned, one for each place")
  never("is_decoder", "use a decoder")
  never("add_cross_attention", "use transformerLayer with { cross: true }")
  return {
    words: number("vocab_size"),
    positions: number("max_position_embeddings"),
    kinds: optional("type_vocab_size"),
    features: number("hidden_size"),
    hidden: number("intermediate_size"),
    layers: number("num_hidden_layers"),
    heads: number("num_attention_heads"),
    epsilon: optional("layer_norm_eps") ?? 1e-12,
    activation: activation(["hidden_act"], "gelu")
  }
}

/** `model_type` vit. Labels are counted in `id2label`; two where it is missing, as there. */
export const vitConfig = (json: Json): VitConfig => {
  const { number, optional, activation, only } = reader("vit", json)
  only("qkv_bias", true, "projections have biases here")
  const side = number("image_size")
  return {
    image: [side, side],
    patch: number("patch_size"),
    channels: optional("num_channels"),
    features: number("hidden_size"),
    hidden: number("intermediate_size"),
    layers: number("num_hidden_layers"),
    heads: number("num_attention_heads"),
    labels: Object.keys((json.id2label as object | null | undefined) ?? { 0: "", 1: "" }).length,
    epsilon: optional("layer_norm_eps") ?? 1e-12,
    activation: activation(["hidden_act"], "gelu")
  }
}

/** `model_type` whisper. */
export const whisperConfig = (json: Json): WhisperConfig => {
  const { number, only } = reader("whisper", json)
  only("activation_function", "gelu", "layers have gelu here")
  only("tie_word_embeddings", true, "words are embedded and predicted by one table here")
  const heads = number("encoder_attention_heads")
  only("decoder_attention_heads", heads, "encoder and decoder have the same heads here")
  const hidden = number("encoder_ffn_dim")
  only("decoder_ffn_dim", hidden, "encoder and decoder have the same hidden features here")
  only("scale_embedding", false, "multiply the table of words once, when it is loaded")
  return {
    mels: number("num_mel_bins"),
    sourcePositions: number("max_source_positions"),
    targetPositions: number("max_target_positions"),
    words: number("vocab_size"),
    features: number("d_model"),
    encoderLayers: number("encoder_layers"),
    decoderLayers: number("decoder_layers"),
    heads,
    hidden
  }
}
