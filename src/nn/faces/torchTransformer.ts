import type { FloatDType } from "../../../ir/DType.ts"
import * as Tensor from "../../Tensor.ts"
import * as Layer from "../Layer.ts"
import { type LinearParams, linear } from "../linear.ts"
import { activations } from "../mlp.ts"
import { layerNorm, type NormParams } from "../norm.ts"
import type * as Params from "../Params.ts"
import { drops, type Training } from "./drops.ts"
import * as Face from "./options.ts"
import { type Inputs, MultiheadAttention, type TorchParams } from "./torchAttention.ts"

/**
 * `torch.nn.TransformerEncoderLayer` and `TransformerDecoderLayer` (PyTorch 2.14): options, defaults, parameter names and mask polarity. Shapes:
 * T positions, S positions of the memory, N batch, E features, F feed-forward features; [T, N, E] unless the batch is first, [T, E] without one.
 */
export interface TransformerOptions {
  /** F; 2048 unless told otherwise. */
  readonly dimFeedforward?: number
  /** 0.1 unless told otherwise; counts in training only. */
  readonly dropout?: number
  readonly activation?: "relu" | "gelu" | ((x: Tensor.Tensor) => Tensor.Tensor)
  readonly layerNormEps?: number
  readonly batchFirst?: boolean
  /** Norms stand before what they belong to and not behind the sum. */
  readonly normFirst?: boolean
  readonly bias?: boolean
  readonly dtype?: FloatDType
}

/** Masks are those of `MultiheadAttention`: true is ignored, floats are added. */
export interface EncoderInputs extends Training {
  readonly src: Tensor.Tensor
  readonly srcMask?: Inputs["attnMask"] | undefined
  readonly srcKeyPaddingMask?: Tensor.Tensor | undefined
  readonly isCausal?: boolean | undefined
}

export interface DecoderInputs extends Training {
  readonly tgt: Tensor.Tensor
  readonly memory: Tensor.Tensor
  readonly tgtMask?: Inputs["attnMask"] | undefined
  readonly memoryMask?: Inputs["attnMask"] | undefined
  readonly tgtKeyPaddingMask?: Tensor.Tensor | undefined
  readonly memoryKeyPaddingMask?: Tensor.Tensor | undefined
  readonly tgtIsCausal?: boolean | undefined
  readonly memoryIsCausal?: boolean | undefined
}

/** Parameters by PyTorch's names. */
export type EncoderParams = {
  readonly self_attn: TorchParams
  readonly linear1: LinearParams
  readonly linear2: LinearParams
  readonly norm1: NormParams
  readonly norm2: NormParams
}

export type DecoderParams = EncoderParams & {
  readonly multihead_attn: TorchParams
  readonly norm3: NormParams
}

const optionNames: ReadonlyArray<keyof TransformerOptions> = [
  ...(["dimFeedforward", "dropout", "activation", "layerNormEps", "batchFirst", "normFirst"] as const),
  ...(["bias", "dtype"] as const)
]

const parts = (dModel: number, nhead: number, options: TransformerOptions) => {
  Face.check("TransformerLayer", options, optionNames)
  const { dimFeedforward = 2048, dropout = 0.1, activation = "relu", layerNormEps = 1e-5 } = options
  const { batchFirst = false, normFirst = false, bias = true, dtype = "f32" } = options
  return {
    dropout,
    normFirst,
    activate: typeof activation === "function" ? activation : activations[activation],
    attention: MultiheadAttention(dModel, nhead, { dropout, bias, batchFirst, dtype }),
    up: linear({ in: dModel, out: dimFeedforward, bias, dtype }),
    down: linear({ in: dimFeedforward, out: dModel, bias, dtype }),
    norm: layerNorm({ features: dModel, epsilon: layerNormEps, bias, dtype })
  }
}

type Parts = ReturnType<typeof parts>

type Part = (x: Tensor.Tensor) => Tensor.Tensor

/** What the sublayers of one call share. */
const call = (
  op: string,
  { dropout, normFirst, norm, activate, up, down, attention }: Parts,
  given: Training
) => {
  const { on, next, dropped } = drops(op, dropout, given)
  return {
    /** `f` around its norm, added to what it takes. */
    added: (x: Tensor.Tensor, gain: Params.Tensors<NormParams>, f: Part): Tensor.Tensor => {
      const sum: Part = (y) => Tensor.add(x, dropped(f(y))) as Tensor.Tensor
      return normFirst ? sum(norm.apply(gain, x)) : norm.apply(gain, sum(x))
    },
    attend: (p: Params.Tensors<TorchParams>, inputs: Inputs): Tensor.Tensor =>
      attention.apply(p, { ...inputs, training: on, seed: on ? next() : undefined, needWeights: false }).out,
    feed:
      (p: Params.Tensors<EncoderParams>): Part =>
      (x) =>
        down.apply(p.linear2, dropped(activate(up.apply(p.linear1, x))))
  }
}

const shared = ({ attention, up, down, norm }: Parts): EncoderParams => ({
  self_attn: attention.params,
  linear1: up.params,
  linear2: down.params,
  norm1: norm.params,
  norm2: norm.params
})

export const TransformerEncoderLayer = (
  dModel: number,
  nhead: number,
  options: TransformerOptions = {}
): Layer.Layer<EncoderParams, EncoderInputs, Tensor.Tensor> => {
  const own = parts(dModel, nhead, options)
  return Layer.make(shared(own), (p, inputs: EncoderInputs) => {
    const { added, attend, feed } = call("TransformerEncoderLayer", own, inputs)
    const seen = {
      attnMask: inputs.srcMask,
      keyPaddingMask: inputs.srcKeyPaddingMask,
      isCausal: inputs.isCausal
    }
    const attended = added(inputs.src, p.norm1, (x) =>
      attend(p.self_attn, { query: x, key: x, value: x, ...seen })
    )
    return added(attended, p.norm2, feed(p))
  })
}

export const TransformerDecoderLayer = (
  dModel: number,
  nhead: number,
  options: TransformerOptions = {}
): Layer.Layer<DecoderParams, DecoderInputs, Tensor.Tensor> => {
  const own = parts(dModel, nhead, options)
  const params: DecoderParams = {
    ...shared(own),
    multihead_attn: own.attention.params,
    norm3: own.norm.params
  }
  return Layer.make(params, (p, inputs: DecoderInputs) => {
    const { memory } = inputs
    const { added, attend, feed } = call("TransformerDecoderLayer", own, inputs)
    const seen = {
      attnMask: inputs.tgtMask,
      keyPaddingMask: inputs.tgtKeyPaddingMask,
      isCausal: inputs.tgtIsCausal
    }
    const met = {
      attnMask: inputs.memoryMask,
      keyPaddingMask: inputs.memoryKeyPaddingMask,
      isCausal: inputs.memoryIsCausal
    }
    const attended = added(inputs.tgt, p.norm1, (x) =>
      attend(p.self_attn, { query: x, key: x, value: x, ...seen })
    )
    const crossed = added(attended, p.norm2, (x) =>
      attend(p.multihead_attn, { query: x, key: memory, value: memory, ...met })
    )
    return added(crossed, p.norm3, feed(p as Params.Tensors<EncoderParams>))
  })
}
