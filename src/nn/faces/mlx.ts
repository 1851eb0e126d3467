/** MLX's layers by their own names. */
export {
  createAdditiveCausalMask,
  type Inputs,
  type MlxParams,
  MultiHeadAttention,
  type Options
} from "./mlxAttention.ts"
export { ALiBi, RoPE, SinusoidalPositionalEncoding } from "./mlxPositions.ts"
export {
  type DecoderInputs,
  type EncoderInputs,
  Transformer,
  TransformerDecoder,
  TransformerDecoderLayer,
  TransformerEncoder,
  TransformerEncoderLayer,
  type TransformerInputs,
  type TransformerOptions
} from "./mlxTransformer.ts"
