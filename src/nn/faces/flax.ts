import type { FloatDType } from "../../../ir/DType.ts"
import * as DType from "../../../ir/DType.ts"
import { AttrError, ShapeError } from "../../errors.ts"
import * as Mask from "../../Mask.ts"
import * as Tensor from "../../Tensor.ts"
import type { Seed } from "../../tensor/random.ts"
import { type AttentionParams, attention } from "../attention.ts"
import type { AttentionConfig, Cache } from "../attentionConfig.ts"
import * as Initialiser from "../Initialiser.ts"
import * as Layer from "../Layer.ts"
import * as Params from "../Params.ts"
import * as Kernel from "./kernel.ts"
import * as Face from "./options.ts"

/**
 * `flax.nnx.MultiHeadAttention` (Flax 0.12): options, defaults, parameter names and layouts, mask polarity and errors. Shapes: … batch axes,
 * T queries, S keys, N query heads, M key/value heads, D head size.
 *
 * Masked keys score the least number of the dtype, as there: a row that is masked throughout gives the mean of the values.
 */
export interface Options {
  readonly numHeads: number
  readonly inFeatures: number
  readonly qkvFeatures?: number
  readonly outFeatures?: number
  readonly numKvHeads?: number
  readonly inKvFeatures?: number
  /** What is computed with: inputs and parameters are cast to it; they promote unless told otherwise. */
  readonly dtype?: FloatDType
  /** Of the parameters; f32 unless told otherwise. */
  readonly paramDtype?: FloatDType
  /** Sums are f32 here whatever it says. */
  readonly precision?: "default" | "high" | "highest"
  readonly broadcastDropout?: boolean
  readonly dropoutRate?: number
  readonly deterministic?: boolean
  readonly kernelInit?: Kernel.Start["kernel"]
  readonly outKernelInit?: Kernel.Start["kernel"]
  readonly biasInit?: Initialiser.Initialiser
  readonly outBiasInit?: Initialiser.Initialiser
  readonly useBias?: boolean
  readonly attentionFn?: AttentionConfig["attention"]
  readonly decode?: boolean
  readonly normalizeQk?: boolean
}

export interface Inputs {
  readonly inputsQ: Tensor.Tensor
  /** The queries unless told otherwise. */
  readonly inputsK?: Tensor.Tensor
  /** The keys unless told otherwise. */
  readonly inputsV?: Tensor.Tensor
  /** bool or numbers over [..., N, T, S]: true, or not 0, takes part. Or a `Mask`, which carries its polarity. */
  readonly mask?: Tensor.Tensor | Mask.Mask
  /** Beats the layer's; one of them must say, where there is dropout. */
  readonly deterministic?: boolean
  /** Of dropout. */
  readonly rngs?: Seed
  readonly sowWeights?: boolean
  /** Beats the layer's. One token a call, behind those that the cache holds. */
  readonly decode?: boolean
  readonly cache?: Cache
  readonly isCausal?: boolean
}

export interface Output {
  readonly out: Tensor.Tensor
  /** Where they are sown: before dropout, [B, N, T, S]. */
  readonly weights: Tensor.Tensor | undefined
  readonly cache: Cache | undefined
}

/** Parameters by Flax's names. */
export type FlaxParams = {
  readonly query: Kernel.KernelParams
  readonly key: Kernel.KernelParams
  readonly value: Kernel.KernelParams
  readonly out: Kernel.KernelParams
  readonly query_ln: { readonly scale: Params.Param } | undefined
  readonly key_ln: { readonly scale: Params.Param } | undefined
}

const op = "MultiHeadAttention"

const optionNames: ReadonlyArray<keyof Options> = [
  ...(["numHeads", "inFeatures", "qkvFeatures", "outFeatures", "numKvHeads", "inKvFeatures"] as const),
  ...(["dtype", "paramDtype", "precision", "broadcastDropout", "dropoutRate", "deterministic"] as const),
  ...(["kernelInit", "outKernelInit", "biasInit", "outBiasInit", "useBias", "attentionFn"] as const),
  ...(["decode", "normalizeQk"] as const)
]

const inputNames: ReadonlyArray<keyof Inputs> = [
  ...(["inputsQ", "inputsK", "inputsV", "mask", "deterministic", "rngs", "sowWeights"] as const),
  ...(["decode", "cache", "isCausal"] as const)
]

const contraction =
  "projections are contractions; bring heads of your own to nn.attention: keyHeads, valueHeads"
const oneDevice = "a graph runs on one device"
const promotion = "give dtype: inputs and parameters are cast to it"
const drawn = "parameters are drawn by init(key), dropout by rngs of the call"

const refused: Face.Refused = {
  ...{ qkvDotGeneral: contraction, outDotGeneral: contraction },
  ...{ qkvDotGeneralCls: contraction, outDotGeneralCls: contraction },
  ...{ outSharding: oneDevice, qkvSharding: oneDevice, kernelMetadata: oneDevice, biasMetadata: oneDevice },
  ...{ outKernelMetadata: oneDevice, outBiasMetadata: oneDevice },
  ...{ queryLnScaleMetadata: oneDevice, keyLnScaleMetadata: oneDevice },
  ...{ qkvPromoteDtype: promotion, outPromoteDtype: promotion, lnPromoteDtype: promotion },
  ...{ rngs: drawn, keepRngs: drawn }
}

export const MultiHeadAttention = (options: Options): Layer.Layer<FlaxParams, Inputs, Output> => {
  Face.check(op, options, optionNames, refused)
  Face.need(op, { numHeads: options.numHeads, inFeatures: options.inFeatures })
  const { numHeads, inFeatures, paramDtype = "f32", useBias = true } = options
  const { qkvFeatures = inFeatures, outFeatures = inFeatures, inKvFeatures = inFeatures } = options
  const kvHeads = options.numKvHeads ?? numHeads
  if (qkvFeatures % numHeads !== 0) {
    throw new AttrError({
      op,
      message: `Memory dimension (${qkvFeatures}) must be divisible by 'numHeads' heads (${numHeads}).`
    })
  }
  const headSize = qkvFeatures / numHeads
  const core = attention({
    features: inFeatures,
    heads: numHeads,
    kvHeads,
    headSize,
    keyFeatures: inKvFeatures,
    outFeatures,
    bias: useBias,
    qkNorm: options.normalizeQk === true ? "layer" : undefined,
    qkNormEpsilon: 1e-6,
    fill: -DType.maxFinite[options.dtype ?? "f32"],
    dropout: options.dropoutRate,
    broadcastDropout: options.broadcastDropout ?? true,
    attention: options.attentionFn,
    dtype: paramDtype,
    compute: options.dtype
  })
  const start = {
    fan: Kernel.fans.flax,
    kernel: options.kernelInit ?? Initialiser.lecunNormal,
    bias: options.biasInit ?? Initialiser.zeros
  }
  const outStart = {
    fan: Kernel.fans.flax,
    kernel: options.outKernelInit ?? start.kernel,
    bias: options.outBiasInit ?? start.bias
  }
  const into = (from: number, heads: number): Kernel.KernelParams =>
    Kernel.params([from], [heads, headSize], useBias, paramDtype, start)
  const scale = () =>
    options.normalizeQk === true
      ? { scale: Params.param(paramDtype, [headSize], Initialiser.ones) }
      : undefined
  const params: FlaxParams = {
    query: into(inFeatures, numHeads),
    key: into(inKvFeatures, kvHeads),
    value: into(inKvFeatures, kvHeads),
    out: Kernel.params([numHeads, headSize], [outFeatures], useBias, paramDtype, outStart),
    query_ln: scale(),
    key_ln: scale()
  }
  return Layer.make(params, (p, inputs: Inputs) => {
    Face.check(op, inputs, inputNames, refused)
    Face.need(op, { inputsQ: inputs.inputsQ })
    const { inputsQ, inputsK = inputsQ, inputsV = inputsK, mask } = inputs
    if (inputs.inputsK === undefined && inputs.inputsV !== undefined) {
      throw new AttrError({
        op,
        message: "inputsK cannot be absent if inputsV is given.",
        hint: "to have both inputsK and inputsV be the same value, pass it to inputsK"
      })
    }
    const { out, stages, cache } = core.apply(coreParams(p), {
      query: inputsQ,
      key: inputsK,
      value: inputsV,
      mask: Mask.isMask(mask) ? mask : boolMask(mask),
      causal: inputs.isCausal === true ? "top-left" : undefined,
      training: isTraining(options, inputs),
      seed: inputs.rngs,
      cache: decoding(options, inputs)
    })
    return { out, weights: inputs.sowWeights === true ? stages.weights : undefined, cache }
  })
}

const boolMask = (mask: Tensor.Tensor | undefined): Tensor.Tensor | undefined =>
  mask === undefined || mask.dtype === "bool" ? mask : (Tensor.ne(mask, 0) as Tensor.Tensor)

const isTraining = (options: Options, inputs: Inputs): boolean => {
  const deterministic = inputs.deterministic ?? options.deterministic
  if ((options.dropoutRate ?? 0) === 0) return false
  if (deterministic !== undefined) return !deterministic
  throw new AttrError({
    op,
    message:
      "No `deterministic` argument was provided to MultiHeadAttention as either a constructor option or a call argument",
    hint: "with dropout one of them says whether it is on"
  })
}

const decoding = (options: Options, inputs: Inputs): Cache | undefined => {
  if (!(inputs.decode ?? options.decode ?? false)) return undefined
  const { cache, inputsQ } = inputs
  if (cache === undefined)
    throw new AttrError({
      op,
      message: "decode needs a cache",
      hint: "make one with initCache and pass the last call's on"
    })
  if (inputsQ.shape.at(-2) === 1) return cache
  throw new ShapeError({
    op,
    message: `decode takes one token at a time, given ${inputsQ}`,
    hint: "a query is [..., 1, F]"
  })
}

/** Kept for a time: all that decoding starts from. [B, M, max length, D], zeros, and no position used. */
export const initCache = (
  { numHeads, numKvHeads = numHeads, inFeatures, qkvFeatures = inFeatures, dtype = "f32" }: Options,
  batch: number,
  maxLength: number
): Cache => {
  const zeros = (): Tensor.Tensor =>
    Tensor.zeros([batch, numKvHeads, maxLength, qkvFeatures / numHeads], dtype) as Tensor.Tensor
  return { key: zeros(), value: zeros(), length: Tensor.zeros([batch], "i32") as Tensor.Tensor }
}

const coreParams = (p: Params.Tensors<FlaxParams>): Params.Tensors<AttentionParams> => {
  const norm = (x: { readonly scale: unknown } | undefined) =>
    x === undefined ? undefined : { weight: x.scale, bias: undefined }
  return {
    query: Kernel.linearOf(p.query, 1),
    key: Kernel.linearOf(p.key, 1),
    value: Kernel.linearOf(p.value, 1),
    out: Kernel.linearOf(p.out, 2),
    gate: undefined,
    queryNorm: norm(p.query_ln),
    keyNorm: norm(p.key_ln),
    sinks: undefined,
    extraKey: undefined,
    extraValue: undefined
  } as Params.Tensors<AttentionParams>
}

/** bool [..., 1, T, S]: `of` holds for each pair of a query's and a key's entry, which are [..., T] and [..., S]. */
export const makeAttentionMask = (
  queries: Tensor.Tensor,
  keys: Tensor.Tensor,
  of: (query: Tensor.Tensor, key: Tensor.Tensor) => Tensor.Tensor = (a, b) =>
    Tensor.mul(a, b) as Tensor.Tensor
): Tensor.Tensor => {
  const pairs = of(
    Tensor.expandDims(queries, -1) as Tensor.Tensor,
    Tensor.expandDims(keys, -2) as Tensor.Tensor
  )
  return Tensor.expandDims(boolMask(pairs) as Tensor.Tensor, -3) as Tensor.Tensor
}

/** bool [..., 1, T, T] for anything of [..., T]: key j ≤ query i. */
export const makeCausalMask = (x: Tensor.Tensor): Tensor.Tensor => {
  const positions = Tensor.broadcastTo(
    Tensor.arange(x.shape.at(-1) as number),
    x.shape as ReadonlyArray<number>
  )
  return makeAttentionMask(
    positions as Tensor.Tensor,
    positions as Tensor.Tensor,
    (q, k) => Tensor.ge(q, k) as Tensor.Tensor
  )
}

/** Where all masks hold; undefined ones are left out. Throws `ShapeError` where ranks differ. */
export const combineMasks = (
  ...masks: ReadonlyArray<Tensor.Tensor | undefined>
): Tensor.Tensor | undefined => {
  const given = masks.filter((m) => m !== undefined)
  if (new Set(given.map((m) => m.rank)).size > 1)
    throw new ShapeError({ op, message: `masks must have same rank: ${given.map((m) => m.rank).join(", ")}` })
  return given
    .map((m) => boolMask(m) as Tensor.Tensor)
    .reduce<Tensor.Tensor | undefined>(
      (a, b) => (a === undefined ? b : (Tensor.and(a as never, b as never) as Tensor.Tensor)),
      undefined
    )
}
