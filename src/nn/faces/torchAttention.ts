import type { FloatDType } from "../../../ir/DType.ts"
import { AttrError, ShapeError } from "../../errors.ts"
import * as Mask from "../../Mask.ts"
import * as Tensor from "../../Tensor.ts"
import type { Seed } from "../../tensor/random.ts"
import { type AttentionParams, attention } from "../attention.ts"
import * as Initialiser from "../Initialiser.ts"
import * as Layer from "../Layer.ts"
import * as Params from "../Params.ts"
import * as Face from "./options.ts"

/**
 * `torch.nn.MultiheadAttention` (PyTorch 2.14): its options, defaults, parameter names and layouts, mask polarity and errors. Shapes: L queries,
 * S keys, N batch, E embedding, H heads.
 *
 * One difference: a row whose keys all are masked gives 0, where PyTorch gives NaN on one path and 0 on another.
 */
export interface Options {
  readonly dropout?: number
  readonly bias?: boolean
  readonly addBiasKv?: boolean
  readonly addZeroAttn?: boolean
  readonly kdim?: number
  readonly vdim?: number
  /** [N, L, E] instead of [L, N, E]. Unbatched tensors are [L, E] in both. */
  readonly batchFirst?: boolean
  readonly dtype?: FloatDType
}

export interface Inputs {
  readonly query: Tensor.Tensor
  readonly key: Tensor.Tensor
  readonly value: Tensor.Tensor
  /** [N, S] or [S]: bool, true is ignored; or float, added. */
  readonly keyPaddingMask?: Tensor.Tensor | undefined
  readonly needWeights?: boolean | undefined
  /** [L, S] or [N·H, L, S]: bool, true is not attended; or float, added. Or a `Mask`, which carries its polarity. */
  readonly attnMask?: Tensor.Tensor | Mask.Mask | undefined
  readonly averageAttnWeights?: boolean | undefined
  /** A hint that attnMask is the causal mask, which it needs. */
  readonly isCausal?: boolean | undefined
  readonly training?: boolean | undefined
  readonly seed?: Seed | undefined
  /** Keys and values that are projected already, [N·H, S, E / H], in place of `key` and `value`. */
  readonly staticK?: Tensor.Tensor | undefined
  readonly staticV?: Tensor.Tensor | undefined
  /** Nested tensors: query, key and value are then the values of all, [total, ·] unbatched, and these where each starts and the last ends, i32. */
  readonly offsets?: Tensor.Tensor | undefined
  /** Those of keys and values where they differ. */
  readonly keyOffsets?: Tensor.Tensor | undefined
}

export interface Output {
  readonly out: Tensor.Tensor
  /** After dropout: [N, L, S], or [N, H, L, S] where they are not averaged; without N where unbatched. */
  readonly weights: Tensor.Tensor | undefined
}

/** Parameters by PyTorch's names. */
export type TorchParams = {
  /** [3E, E], where keys and values have E features; else three of their own. */
  readonly in_proj_weight: Params.Param | undefined
  readonly q_proj_weight: Params.Param | undefined
  readonly k_proj_weight: Params.Param | undefined
  readonly v_proj_weight: Params.Param | undefined
  readonly in_proj_bias: Params.Param | undefined
  readonly bias_k: Params.Param | undefined
  readonly bias_v: Params.Param | undefined
  readonly out_proj: { readonly weight: Params.Param; readonly bias: Params.Param | undefined }
}

const op = "MultiheadAttention"

const optionNames: ReadonlyArray<keyof Options> = [
  ...(["dropout", "bias", "addBiasKv", "addZeroAttn", "kdim", "vdim", "batchFirst", "dtype"] as const)
]

const inputNames: ReadonlyArray<keyof Inputs> = [
  ...(["query", "key", "value", "keyPaddingMask", "needWeights", "attnMask", "averageAttnWeights"] as const),
  ...(["isCausal", "training", "seed", "staticK", "staticV", "offsets", "keyOffsets"] as const)
]

const refused: Face.Refused = {
  device: "arrays live where the backend in context computes: upload them, or nn.load"
}

export const MultiheadAttention = (
  embedDim: number,
  numHeads: number,
  options: Options = {}
): Layer.Layer<TorchParams, Inputs, Output> => {
  Face.check(op, options, optionNames, refused)
  const { bias = true, batchFirst = false, dtype = "f32" } = options
  const [kdim, vdim] = [options.kdim ?? embedDim, options.vdim ?? embedDim]
  if (embedDim % numHeads !== 0)
    throw new AttrError({ op, message: `embedDim ${embedDim} must be divisible by numHeads ${numHeads}` })
  const core = attention({
    features: embedDim,
    heads: numHeads,
    keyFeatures: kdim,
    valueFeatures: vdim,
    bias,
    extraKey: options.addBiasKv,
    zeroKey: options.addZeroAttn,
    dropout: options.dropout,
    dtype
  })
  const packed = kdim === embedDim && vdim === embedDim
  const weight = (rows: number, columns: number): Params.Param =>
    Params.param(dtype, [rows, columns], Initialiser.glorotUniform({ in: columns, out: rows }))
  const row = (): Params.Param | undefined =>
    options.addBiasKv === true
      ? Params.param(dtype, [1, 1, embedDim], Initialiser.glorotNormal({ in: embedDim, out: embedDim }))
      : undefined
  const zeros = (size: number): Params.Param | undefined =>
    bias ? Params.param(dtype, [size], Initialiser.zeros) : undefined
  const params: TorchParams = {
    in_proj_weight: packed ? weight(3 * embedDim, embedDim) : undefined,
    q_proj_weight: packed ? undefined : weight(embedDim, embedDim),
    k_proj_weight: packed ? undefined : weight(embedDim, kdim),
    v_proj_weight: packed ? undefined : weight(embedDim, vdim),
    in_proj_bias: zeros(3 * embedDim),
    bias_k: row(),
    bias_v: row(),
    out_proj: {
      weight: Params.param(
        dtype,
        [embedDim, embedDim],
        Initialiser.fanInUniform({ in: embedDim, out: embedDim })
      ),
      bias: zeros(embedDim)
    }
  }
  return Layer.make(params, (p, inputs: Inputs) => {
    Face.check(op, inputs, inputNames)
    const batched = checked(inputs, { embedDim, kdim, vdim, numHeads, batchFirst })
    const arranged = (x: Tensor.Tensor): Tensor.Tensor =>
      !batched || batchFirst ? x : (Tensor.swapAxes(x, 0, 1) as Tensor.Tensor)
    const { keyPaddingMask, attnMask, isCausal = false, needWeights = true } = inputs
    if (isCausal && attnMask === undefined)
      throw new AttrError({
        op,
        message: "isCausal is a hint and needs attnMask",
        hint: "pass attnMask: Mask.causal"
      })
    // The hint counts where PyTorch lets it: then the mask itself is not read.
    const hinted = isCausal && !needWeights && keyPaddingMask === undefined
    const mask = hinted ? undefined : maskOf(attnMask, numHeads)
    const padding = paddingOf(keyPaddingMask)
    const { out, stages } = core.apply(coreParams(p, embedDim, numHeads), {
      query: arranged(inputs.query),
      key: arranged(inputs.key),
      value: arranged(inputs.value),
      mask: mask?.mask,
      causal: hinted ? "top-left" : undefined,
      keyMask: padding?.keep,
      bias: sum(mask?.bias, padding?.bias),
      keyHeads: projected(inputs.staticK, numHeads),
      valueHeads: projected(inputs.staticV, numHeads),
      offsets: inputs.offsets,
      keyOffsets: inputs.keyOffsets,
      training: inputs.training,
      seed: inputs.seed
    })
    const weights = needWeights ? returned(stages.kept, inputs, batched) : undefined
    return { out: arranged(out), weights }
  })
}

const returned = (
  kept: Tensor.Tensor,
  { averageAttnWeights = true, query }: Inputs,
  batched: boolean
): Tensor.Tensor => {
  const own = Tensor.cast(averageAttnWeights ? Tensor.mean(kept, 1) : kept, query.dtype) as Tensor.Tensor
  return batched ? own : (Tensor.squeeze(own, 0) as Tensor.Tensor)
}

interface Sizes {
  readonly embedDim: number
  readonly kdim: number
  readonly vdim: number
  readonly numHeads: number
  readonly batchFirst: boolean
}

/** Whether there is a batch. Throws for ranks and sizes that do not go together. */
const checked = (inputs: Inputs, { embedDim, kdim, vdim, numHeads, batchFirst }: Sizes): boolean => {
  const { query, key, value, attnMask, keyPaddingMask, staticK } = inputs
  Face.need(op, { query, key, value })
  const ranks = [query, key, value].map((x) => x.rank)
  const batched = ranks[0] === 3
  if (!ranks.every((r) => r === (batched ? 3 : 2))) {
    throw new ShapeError({
      op,
      message: `query, key and value are all 2-D (unbatched) or all 3-D, given ${ranks.join(", ")} axes`
    })
  }
  const lengthOf = (x: Tensor.Tensor) => x.shape[batched && batchFirst ? 1 : 0] as number
  const batch = batched ? (query.shape[batchFirst ? 0 : 1] as number) : 1
  for (const [name, x, features] of [
    ["query", query, embedDim],
    ["key", key, kdim],
    ["value", value, vdim]
  ] as const) {
    const length = name === "query" ? lengthOf(query) : lengthOf(key)
    const both = batchFirst ? [batch, length] : [length, batch]
    Face.fits(op, name, x, [...(batched ? both : [length]), features])
  }
  const [queries, keys] = [lengthOf(query), (staticK ?? { shape: [0, lengthOf(key)] }).shape[1] as number]
  if (keyPaddingMask !== undefined)
    Face.fits(op, "keyPaddingMask", keyPaddingMask, batched ? [batch, keys] : [keys])
  if (Tensor.isTensor(attnMask) && attnMask.rank === 2) Face.fits(op, "attnMask", attnMask, [queries, keys])
  if (Tensor.isTensor(attnMask) && attnMask.rank === 3) {
    const rows = typeof batch === "number" ? batch * numHeads : `${batch}·${numHeads}`
    Face.fits(op, "attnMask", attnMask, [rows, queries, keys])
  }
  return batched
}

/** [N·H, S, D] as [N, H, S, D]. */
const projected = (x: Tensor.Tensor | undefined, heads: number): Tensor.Tensor | undefined =>
  x === undefined
    ? undefined
    : (Tensor.reshape(x, [-1, heads, ...(x.shape.slice(1) as [number, number])]) as Tensor.Tensor)

const sum = (a: Tensor.Tensor | undefined, b: Tensor.Tensor | undefined): Tensor.Tensor | undefined =>
  a === undefined ? b : b === undefined ? a : (Tensor.add(a, b) as Tensor.Tensor)

/** [L, S] and [N·H, L, S] over the scores. */
const maskOf = (mask: Inputs["attnMask"], heads: number) => {
  if (mask === undefined || Mask.isMask(mask)) return { mask, bias: undefined }
  if (mask.rank !== 2 && mask.rank !== 3)
    throw new ShapeError({ op, message: `attnMask is [L, S] or [N·H, L, S], given ${mask}` })
  const [length, keys] = mask.shape.slice(-2) as [number, number]
  const own = mask.rank === 2 ? mask : (Tensor.reshape(mask, [-1, heads, length, keys]) as Tensor.Tensor)
  return own.dtype === "bool"
    ? { mask: Tensor.not(own as Tensor.Tensor<"bool">) as Tensor.Tensor, bias: undefined }
    : { mask: undefined, bias: own }
}

const paddingOf = (mask: Tensor.Tensor | undefined) => {
  if (mask === undefined) return undefined
  if (mask.dtype === "bool")
    return { keep: Tensor.not(mask as Tensor.Tensor<"bool">) as Tensor.Tensor, bias: undefined }
  const [keys, batch] = [mask.shape.at(-1) as number, mask.rank === 1 ? 1 : (mask.shape[0] as number)]
  return { keep: undefined, bias: Tensor.reshape(mask, [batch, 1, 1, keys]) as Tensor.Tensor }
}

/** PyTorch's parameters as the layer's: views of them. */
const coreParams = (
  p: Params.Tensors<TorchParams>,
  E: number,
  H: number
): Params.Tensors<AttentionParams> => {
  const part = (x: Tensor.Tensor | undefined, n: number): Tensor.Tensor | undefined =>
    x === undefined ? undefined : (Tensor.slice(x, 0, { start: n * E, stop: (n + 1) * E }) as Tensor.Tensor)
  const own = [p.q_proj_weight, p.k_proj_weight, p.v_proj_weight]
  const projection = (n: number) => ({
    weight: (own[n] ?? part(p.in_proj_weight, n)) as Tensor.Tensor,
    bias: part(p.in_proj_bias, n)
  })
  const row = (x: Tensor.Tensor | undefined): Tensor.Tensor | undefined =>
    x === undefined ? undefined : (Tensor.reshape(x, [1, H, 1, E / H]) as Tensor.Tensor)
  return {
    query: projection(0),
    key: projection(1),
    value: projection(2),
    out: p.out_proj,
    gate: undefined,
    queryNorm: undefined,
    keyNorm: undefined,
    sinks: undefined,
    extraKey: row(p.bias_k),
    extraValue: row(p.bias_v)
  } as Params.Tensors<AttentionParams>
}
