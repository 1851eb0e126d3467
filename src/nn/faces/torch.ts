/** PyTorch's layers by their own names. */
export {
  type Inputs,
  MultiheadAttention,
  type Options,
  type Output,
  type TorchParams
} from "./torchAttention.ts"
export {
  type DecoderInputs,
  type DecoderParams,
  type EncoderInputs,
  type EncoderParams,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
  type TransformerOptions
} from "./torchTransformer.ts"
