import type { FloatDType } from "../../../ir/DType.ts"
import type * as Mask from "../../Mask.ts"
import * as Tensor from "../../Tensor.ts"
import * as Layer from "../Layer.ts"
import { type LinearParams, linear } from "../linear.ts"
import { layerNorm, type NormParams } from "../norm.ts"
import type * as Params from "../Params.ts"
import { drops, type Training } from "./drops.ts"
import { type MlxParams, MultiHeadAttention } from "./mlxAttention.ts"
import * as Face from "./options.ts"

/**
 * `mlx.nn.TransformerEncoder`, `TransformerDecoder` and `Transformer` (MLX 0.32): options, defaults and parameter names. Shapes: B batch, T
 * positions, S positions of the memory, F features. A mask is bool, true keeps, or added, over [B, N, T, S].
 */
export interface TransformerOptions {
  /** 4 F unless told otherwise. */
  readonly mlpDims?: number
  /** Counts in training only. */
  readonly dropout?: number
  /** relu unless told otherwise. */
  readonly activation?: (x: Tensor.Tensor) => Tensor.Tensor
  /** Norms stand before what they belong to and not behind the sum; they do unless told otherwise. */
  readonly normFirst?: boolean
  readonly dtype?: FloatDType
}

type AnyMask = Tensor.Tensor | Mask.Mask | undefined

export interface EncoderInputs extends Training {
  /** [B, T, F] */
  readonly x: Tensor.Tensor
  readonly mask?: AnyMask
}

export interface DecoderInputs extends Training {
  readonly x: Tensor.Tensor
  /** [B, S, F] */
  readonly memory: Tensor.Tensor
  readonly xMask?: AnyMask
  readonly memoryMask?: AnyMask
}

export interface TransformerInputs extends Training {
  readonly src: Tensor.Tensor
  readonly tgt: Tensor.Tensor
  readonly srcMask?: AnyMask
  readonly tgtMask?: AnyMask
  readonly memoryMask?: AnyMask
}

type Feed = { readonly linear1: LinearParams; readonly linear2: LinearParams }

type EncoderLayerParams = Feed & {
  readonly attention: MlxParams
  readonly ln1: NormParams
  readonly ln2: NormParams
}

type DecoderLayerParams = Feed & {
  readonly self_attention: MlxParams
  readonly cross_attention: MlxParams
  readonly ln1: NormParams
  readonly ln2: NormParams
  readonly ln3: NormParams
}

type Stack<P> = { readonly layers: ReadonlyArray<P>; readonly ln: NormParams }

const optionNames: ReadonlyArray<keyof TransformerOptions> = [
  ...(["mlpDims", "dropout", "activation", "normFirst", "dtype"] as const)
]

const refused: Face.Refused = { checkpoint: "nothing is differentiated, so that nothing is kept for it" }

const parts = (dims: number, numHeads: number, options: TransformerOptions) => {
  Face.check("Transformer", options, optionNames, refused)
  const { mlpDims = 4 * dims, dropout = 0, normFirst = true, dtype = "f32" } = options
  const activation = options.activation ?? ((x: Tensor.Tensor) => Tensor.relu(x) as Tensor.Tensor)
  const norm = layerNorm({ features: dims, dtype })
  const attention = MultiHeadAttention(dims, numHeads, { dtype })
  const up = linear({ in: dims, out: mlpDims, dtype })
  const down = linear({ in: mlpDims, out: dims, dtype })
  return { dropout, normFirst, activation, norm, attention, up, down }
}

type Parts = ReturnType<typeof parts>
type Part = (x: Tensor.Tensor) => Tensor.Tensor

/** What the sublayers of one call share. */
const call = ({ dropout, normFirst, activation, norm, attention, up, down }: Parts, given: Training) => {
  const { dropped } = drops("Transformer", dropout, given)
  return {
    added: (x: Tensor.Tensor, gain: Params.Tensors<NormParams>, f: Part): Tensor.Tensor => {
      const sum: Part = (y) => Tensor.add(x, f(y)) as Tensor.Tensor
      return normFirst ? sum(norm.apply(gain, x)) : norm.apply(gain, sum(x))
    },
    attend: (p: Params.Tensors<MlxParams>, x: Tensor.Tensor, to: Tensor.Tensor, mask: AnyMask) =>
      dropped(
        attention.apply(p, { queries: x, keys: to, values: to, ...(mask === undefined ? {} : { mask }) })
      ),
    feed:
      (p: Params.Tensors<Feed>): Part =>
      (x) =>
        down.apply(p.linear2, dropped(activation(up.apply(p.linear1, x))))
  }
}

export const TransformerEncoderLayer = (
  dims: number,
  numHeads: number,
  options: TransformerOptions = {}
): Layer.Layer<EncoderLayerParams, EncoderInputs, Tensor.Tensor> => {
  const own = parts(dims, numHeads, options)
  const { norm, attention, up, down } = own
  const params: EncoderLayerParams = {
    ...{ attention: attention.params, ln1: norm.params, ln2: norm.params },
    ...{ linear1: up.params, linear2: down.params }
  }
  return Layer.make(params, (p, { x, mask, ...given }: EncoderInputs) => {
    const { added, attend, feed } = call(own, given)
    const attended = added(x, p.ln1, (y) => attend(p.attention, y, y, mask))
    return added(attended, p.ln2, feed(p))
  })
}

export const TransformerDecoderLayer = (
  dims: number,
  numHeads: number,
  options: TransformerOptions = {}
): Layer.Layer<DecoderLayerParams, DecoderInputs, Tensor.Tensor> => {
  const own = parts(dims, numHeads, options)
  const { norm, attention, up, down } = own
  const params: DecoderLayerParams = {
    ...{ self_attention: attention.params, cross_attention: attention.params },
    ...{ ln1: norm.params, ln2: norm.params, ln3: norm.params, linear1: up.params, linear2: down.params }
  }
  return Layer.make(params, (p, { x, memory, xMask, memoryMask, ...given }: DecoderInputs) => {
    const { added, attend, feed } = call(own, given)
    const attended = added(x, p.ln1, (y) => attend(p.self_attention, y, y, xMask))
    const crossed = added(attended, p.ln2, (y) => attend(p.cross_attention, y, memory, memoryMask))
    return added(crossed, p.ln3, feed(p))
  })
}

/** Layers one after the other, each with draws of its own, and a norm. */
const stack = <P extends EncoderLayerParams | DecoderLayerParams>(
  count: number,
  { params, apply }: { readonly params: P; readonly apply: (p: never, inputs: never) => Tensor.Tensor },
  dims: number,
  dtype: FloatDType | undefined
) => {
  const norm = layerNorm({ features: dims, dtype })
  const own: Stack<P> = { layers: Array.from({ length: count }, () => params), ln: norm.params }
  const run = (
    p: { readonly layers: ReadonlyArray<unknown>; readonly ln: Params.Tensors<NormParams> },
    inputs: Training & { readonly x: Tensor.Tensor }
  ): Tensor.Tensor => {
    // What is dropped is the layers' matter; here each gets a seed of its own.
    const { on, next } = drops("Transformer", inputs.seed === undefined ? 0 : 1, inputs)
    const last = p.layers.reduce<Tensor.Tensor>(
      (x, layer) => apply(layer as never, { ...inputs, x, ...(on ? { seed: next() } : {}) } as never),
      inputs.x
    )
    return norm.apply(p.ln, last)
  }
  return { params: own, run }
}

export const TransformerEncoder = (
  numLayers: number,
  dims: number,
  numHeads: number,
  options: TransformerOptions = {}
): Layer.Layer<Stack<EncoderLayerParams>, EncoderInputs, Tensor.Tensor> => {
  const layer = TransformerEncoderLayer(dims, numHeads, options)
  const { params, run } = stack(numLayers, layer, dims, options.dtype)
  return Layer.make(params, (p, inputs: EncoderInputs) => run(p, inputs))
}

export const TransformerDecoder = (
  numLayers: number,
  dims: number,
  numHeads: number,
  options: TransformerOptions = {}
): Layer.Layer<Stack<DecoderLayerParams>, DecoderInputs, Tensor.Tensor> => {
  const layer = TransformerDecoderLayer(dims, numHeads, options)
  const { params, run } = stack(numLayers, layer, dims, options.dtype)
  return Layer.make(params, (p, inputs: DecoderInputs) => run(p, inputs))
}

type WholeParams = {
  readonly encoder: Stack<EncoderLayerParams>
  readonly decoder: Stack<DecoderLayerParams>
}

export const Transformer = ({
  dims = 512,
  numHeads = 8,
  numEncoderLayers = 6,
  numDecoderLayers = 6,
  ...options
}: TransformerOptions & {
  readonly dims?: number
  readonly numHeads?: number
  readonly numEncoderLayers?: number
  readonly numDecoderLayers?: number
} = {}): Layer.Layer<WholeParams, TransformerInputs, Tensor.Tensor> => {
  const encoder = TransformerEncoder(numEncoderLayers, dims, numHeads, options)
  const decoder = TransformerDecoder(numDecoderLayers, dims, numHeads, options)
  const params: WholeParams = { encoder: encoder.params, decoder: decoder.params }
  return Layer.make(params, (p, { src, tgt, srcMask, tgtMask, memoryMask, ...given }: TransformerInputs) => {
    const memory = encoder.apply(p.encoder, { x: src, mask: srcMask, ...given })
    return decoder.apply(p.decoder, { x: tgt, memory, xMask: tgtMask, memoryMask, ...given })
  })
}
