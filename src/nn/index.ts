/**
 * Layers as pure functions over parameters: the entry point `effuse/nn`. A layer says what its parameters are (`params`), draws them
 * (`init`) and builds an expression (`apply`).
 */
export { type AttentionLayer, type AttentionParams, attention } from "./attention.ts"
export type {
  Alignment,
  AttentionConfig,
  AttentionInputs,
  AttentionOutput,
  Cache,
  Projection
} from "./attentionConfig.ts"
export type { CacheKind } from "./CacheKind.ts"
export { convert, type Heads, type Layout, type State } from "./convert.ts"
export { convertParts, type Part } from "./convertParts.ts"
export { define, type LayerDefinition } from "./define.ts"
export { type EmbeddingConfig, embedding, unembed } from "./embedding.ts"
export * as flax from "./faces/flax.ts"
export * as keras from "./faces/keras.ts"
export * as mlx from "./faces/mlx.ts"
export * as torch from "./faces/torch.ts"
export { fileSource, folderSources } from "./fileSource.ts"
export { type Generated, type GenerateOptions, generate } from "./generate.ts"
export * as Initialiser from "./Initialiser.ts"
export * as Key from "./Key.ts"
export type { LanguageModel } from "./LanguageModel.ts"
export type { Layer } from "./Layer.ts"
export { type LinearConfig, type LinearParams, linear } from "./linear.ts"
export { type Activation, activations, gatedMlp, type MlpConfig, mlp } from "./mlp.ts"
export { type BertConfig, bert } from "./models/bert.ts"
export { bertConfig, gpt2Config, vitConfig, whisperConfig } from "./models/configs.ts"
export {
  type Decoder,
  type DecoderInputs,
  type DecoderOutput,
  type DecoderParams,
  decoder
} from "./models/decoder.ts"
export { type DecoderConfig, decoderConfig } from "./models/decoderConfig.ts"
export { type Gpt2, type Gpt2Config, gpt2 } from "./models/gpt2.ts"
export { type Model, type ModelOptions, modelOf, openFolder, type Pretrained } from "./models/pretrained.ts"
export { type VitConfig, vit } from "./models/vit.ts"
export { type Whisper, type WhisperConfig, whisper } from "./models/whisper.ts"
export { layerNorm, type NormConfig, rmsNorm } from "./norm.ts"
export { npz, openNpz } from "./npz.ts"
export * as Params from "./Params.ts"
export {
  type LearnedPositionsConfig,
  learnedPositions,
  type PositionInputs,
  sinusoidal
} from "./position.ts"
export { progressBar, progressLine, type Terminal } from "./progress.ts"
export { frequencies, type Positions, type RopeConfig, type RopeScaling, rope } from "./rope.ts"
export { narrowed, penalised, type Sampling, sample } from "./sample.ts"
export { type SaveOptions, type ShardOptions, safetensors, saveFolder } from "./save.ts"
export {
  type TransformerConfig,
  type TransformerLayer,
  type TransformerParams,
  transformerLayer
} from "./transformer.ts"
export {
  blobSource,
  type Loaded,
  type LoadOptions,
  load,
  loaded,
  open as openWeights,
  type Source,
  type Weights
} from "./weights.ts"
