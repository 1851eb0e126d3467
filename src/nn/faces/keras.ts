import type { FloatDType } from "../../../ir/DType.ts"
import { AttrError, ShapeError } from "../../errors.ts"
import * as Mask from "../../Mask.ts"
import * as Tensor from "../../Tensor.ts"
import type { Seed } from "../../tensor/random.ts"
import { type AttentionParams, attention } from "../attention.ts"
import * as Initialiser from "../Initialiser.ts"
import * as Layer from "../Layer.ts"
import type * as Params from "../Params.ts"
import * as Kernel from "./kernel.ts"
import * as Face from "./options.ts"

export { AdditiveAttention, Attention } from "./kerasScores.ts"

/**
 * `keras.layers.MultiHeadAttention` and `GroupQueryAttention` (Keras 3.16, which TensorFlow ships): options, defaults, parameter names and layouts,
 * mask polarity. Shapes: B batch, T queries, S keys, N query heads, M key/value heads, D key dim, E value dim.
 *
 * Keras reads feature sizes off the first call; here they are options. Masked keys score -1e9 (-3e4 in f16), as there: a row that is
 * masked throughout gives the mean of the values.
 */
interface Common {
  readonly dropout?: number
  readonly useBias?: boolean
  /** Features of queries; of keys and values where they differ. */
  readonly features: number
  readonly keyFeatures?: number
  readonly valueFeatures?: number
  /** Keys at a distance below this take part: |i - j| < w. */
  readonly slidingWindow?: number
  readonly useGate?: boolean
  readonly kernelInitializer?: Kernel.Start["kernel"]
  readonly biasInitializer?: Initialiser.Initialiser
  readonly seed?: Seed
  /** Of parameters and computing; the mixed ones compute in 16 bits with parameters of 32. */
  readonly dtype?: FloatDType | "mixed_float16" | "mixed_bfloat16"
  /** Refused with dropout or returned scores where true. What fuses fuses in any case; `compile` with `requireFused` makes sure. */
  readonly flashAttention?: boolean
}

export interface Options extends Common {
  readonly numHeads: number
  readonly keyDim: number
  readonly valueDim?: number
  /** The query's features unless told otherwise; several sizes give as many axes. */
  readonly outputShape?: number | ReadonlyArray<number>
  /** Axes that attention runs over, all between the batch and the features unless told otherwise. */
  readonly attentionAxes?: number | ReadonlyArray<number>
}

export interface GroupedOptions extends Common {
  readonly headDim: number
  readonly numQueryHeads: number
  readonly numKeyValueHeads: number
}

export interface Inputs {
  readonly query: Tensor.Tensor
  readonly value: Tensor.Tensor
  /** The value unless told otherwise. */
  readonly key?: Tensor.Tensor
  /** bool [B, T], [B, S], [B, S]: true takes part. */
  readonly queryMask?: Tensor.Tensor
  readonly valueMask?: Tensor.Tensor
  readonly keyMask?: Tensor.Tensor
  /** bool or numbers, [B, T, S]: true, or not 0, takes part. With several attention axes, those of queries, then of keys. Or a `Mask`, over attention axes as one. */
  readonly attentionMask?: Tensor.Tensor | Mask.Mask
  readonly returnAttentionScores?: boolean
  readonly training?: boolean
  readonly useCausalMask?: boolean
  /** Beats the layer's. */
  readonly seed?: Seed
}

export interface Output {
  readonly out: Tensor.Tensor
  /** Before dropout: [B, …, N, T…, S…] over the attention axes. */
  readonly scores: Tensor.Tensor | undefined
}

/** Parameters by Keras' names; as paths, `query/kernel`. */
export type KerasParams = {
  readonly query: Kernel.KernelParams
  readonly key: Kernel.KernelParams
  readonly value: Kernel.KernelParams
  readonly gate: Kernel.KernelParams | undefined
  readonly attention_output: Kernel.KernelParams
}

export type KerasLayer = Layer.Layer<KerasParams, Inputs, Output>

const commonNames: ReadonlyArray<keyof Common> = [
  ...([
    "dropout",
    "useBias",
    "features",
    "keyFeatures",
    "valueFeatures",
    "slidingWindow",
    "useGate"
  ] as const),
  ...(["kernelInitializer", "biasInitializer", "seed", "dtype", "flashAttention"] as const)
]

const inputNames: ReadonlyArray<keyof Inputs> = [
  ...(["query", "value", "key", "queryMask", "valueMask", "keyMask", "attentionMask"] as const),
  ...(["returnAttentionScores", "training", "useCausalMask", "seed"] as const)
]

const untrained = "nothing is trained here, so that nothing is penalised: add it where the training is"
const clipped = "parameters are values: change them with a function before they are used"

const refused: Face.Refused = {
  ...{ kernelRegularizer: untrained, biasRegularizer: untrained, activityRegularizer: untrained },
  ...{ kernelConstraint: clipped, biasConstraint: clipped },
  ...{ trainable: untrained, name: "parameters are named by their place in the record they stand in" }
}

interface Sizes {
  readonly op: string
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  readonly valueHeadSize: number
  readonly out: ReadonlyArray<number>
  readonly axes: ReadonlyArray<number> | undefined
  /** Axes of operands, where a layer takes no others. */
  readonly rank?: number
}

export const MultiHeadAttention = (options: Options): KerasLayer => {
  const own = ["numHeads", "keyDim", "valueDim", "outputShape", "attentionAxes"] as const
  Face.check("MultiHeadAttention", options, [...own, ...commonNames], refused)
  const { numHeads, keyDim, valueDim = keyDim, features, outputShape = features, attentionAxes } = options
  return make(options, {
    op: "MultiHeadAttention",
    heads: numHeads,
    kvHeads: numHeads,
    headSize: keyDim,
    valueHeadSize: valueDim,
    out: typeof outputShape === "number" ? [outputShape] : outputShape,
    axes: typeof attentionAxes === "number" ? [attentionAxes] : attentionAxes
  })
}

export const GroupQueryAttention = (options: GroupedOptions): KerasLayer => {
  const { headDim, numQueryHeads, numKeyValueHeads, features } = options
  const op = "GroupQueryAttention"
  const own = ["headDim", "numQueryHeads", "numKeyValueHeads"] as const
  Face.check(op, options, [...own, ...commonNames], refused)
  if (numQueryHeads % numKeyValueHeads !== 0) {
    throw new AttrError({
      op,
      message: `numQueryHeads must be divisible by numKeyValueHeads, given ${numQueryHeads} and ${numKeyValueHeads}`
    })
  }
  return make(options, {
    op,
    rank: 3,
    heads: numQueryHeads,
    kvHeads: numKeyValueHeads,
    headSize: headDim,
    valueHeadSize: headDim,
    out: [features],
    axes: undefined
  })
}

/** The same by the name of its class. */
export { GroupQueryAttention as GroupedQueryAttention }

const make = (options: Common, sizes: Sizes): KerasLayer => {
  const {
    features,
    keyFeatures = features,
    valueFeatures = keyFeatures,
    useBias = true,
    dropout = 0
  } = options
  Face.need(sizes.op, { features })
  if (options.flashAttention === true && dropout > 0)
    throw new AttrError({
      op: sizes.op,
      message: "Dropout is not supported when flash attention is enabled.",
      hint: "set dropout to 0"
    })
  const { dtype, compute } = dtypesOf(options)
  const { heads, kvHeads, headSize, valueHeadSize, out } = sizes
  const core = attention({
    features,
    heads,
    kvHeads,
    headSize,
    valueHeadSize,
    keyFeatures,
    valueFeatures,
    outFeatures: out,
    bias: useBias,
    gate: options.useGate,
    dropout: options.dropout,
    fill: compute === "f16" ? -3e4 : -1e9,
    dtype,
    compute
  })
  const start: Kernel.Start = {
    fan: Kernel.fans.keras,
    kernel: options.kernelInitializer ?? Initialiser.glorotUniform,
    bias: options.biasInitializer ?? Initialiser.zeros
  }
  const into = (from: number, count: number, size: number): Kernel.KernelParams =>
    Kernel.params([from], [count, size], useBias, dtype, start)
  const params: KerasParams = {
    query: into(features, heads, headSize),
    key: into(keyFeatures, kvHeads, headSize),
    value: into(valueFeatures, kvHeads, valueHeadSize),
    gate: options.useGate === true ? into(features, heads, valueHeadSize) : undefined,
    attention_output: Kernel.params([heads, valueHeadSize], out, useBias, dtype, start)
  }
  return Layer.make(params, (p, inputs: Inputs) => {
    Face.check(sizes.op, inputs, inputNames)
    const { query, value, key = value } = inputs
    Face.need(sizes.op, { query, value })
    if (options.flashAttention === true && inputs.returnAttentionScores === true)
      throw new AttrError({
        op: sizes.op,
        message: "Returning attention scores is not supported when flash attention is enabled.",
        hint: "leave flashAttention out"
      })
    const places = placesOf(sizes, query)
    const [q, k, v] = [query, key, value].map((x) => gathered(x, places)) as [
      Tensor.Tensor,
      Tensor.Tensor,
      Tensor.Tensor
    ]
    const { out: result, stages } = core.apply(coreParams(p), {
      query: q,
      key: k,
      value: v,
      mask: maskOf(options, inputs, places, query),
      causal: inputs.useCausalMask === true ? "top-left" : undefined,
      queryMask: inputs.queryMask,
      keyMask: inputs.keyMask,
      valueMask: inputs.valueMask,
      training: inputs.training,
      seed: inputs.seed ?? options.seed
    })
    return {
      out: spread(result, query, places, out.length),
      scores: inputs.returnAttentionScores === true ? scoresOf(stages.weights, query, key, places) : undefined
    }
  })
}

/** Of parameters, and of computing where it is told. */
const dtypesOf = ({ dtype }: Common): { readonly dtype: FloatDType; readonly compute?: FloatDType } =>
  dtype === undefined
    ? { dtype: "f32" }
    : dtype === "mixed_float16"
      ? { dtype: "f32", compute: "f16" }
      : dtype === "mixed_bfloat16"
        ? { dtype: "f32", compute: "bf16" }
        : { dtype, compute: dtype }

const coreParams = (p: Params.Tensors<KerasParams>): Params.Tensors<AttentionParams> =>
  ({
    query: Kernel.linearOf(p.query, 1),
    key: Kernel.linearOf(p.key, 1),
    value: Kernel.linearOf(p.value, 1),
    gate: p.gate === undefined ? undefined : Kernel.linearOf(p.gate, 1),
    out: Kernel.linearOf(p.attention_output, 2),
    queryNorm: undefined,
    keyNorm: undefined,
    sinks: undefined,
    extraKey: undefined,
    extraValue: undefined
  }) as Params.Tensors<AttentionParams>

/** Which axes of an operand attention runs over, and which others are batch. */
interface Places {
  readonly attention: ReadonlyArray<number>
  readonly batch: ReadonlyArray<number>
}

const placesOf = ({ op, axes, rank }: Sizes, query: Tensor.Tensor): Places => {
  if (rank !== undefined && query.rank !== rank)
    throw new ShapeError({
      op,
      message: `operands have ${rank} axes, given ${query}`,
      hint: "use MultiHeadAttention"
    })
  const between = Array.from({ length: query.rank - 2 }, (_, n) => n + 1)
  const own = (axes ?? between).map((a) => (a < 0 ? a + query.rank : a))
  if (own.length === 0 || own.some((a) => !between.includes(a)) || new Set(own).size < own.length) {
    throw new ShapeError({
      op,
      message: `attention runs over axes between the batch and the features, given ${(axes ?? []).join(", ") || "none"} of ${query}`,
      hint: "a query is [B, …, T, F]"
    })
  }
  return { attention: own, batch: [0, ...between.filter((a) => !own.includes(a))] }
}

const isPlain = ({ attention: own, batch }: Places): boolean => own.length === 1 && own[0] === batch.length

/** [B, …, T, F], the attention axes as one behind the batch axes. */
const gathered = (x: Tensor.Tensor, places: Places): Tensor.Tensor => {
  if (isPlain(places)) return x
  const { attention: own, batch } = places
  const moved = Tensor.permute(x, [...batch, ...own, x.rank - 1])
  return Tensor.reshape(moved, [
    ...batch.map((a) => sizeAt(x, a)),
    -1,
    sizeAt(x, x.rank - 1)
  ]) as Tensor.Tensor
}

const sizeAt = (x: Tensor.Tensor, axis: number): number => x.shape[axis] as number

/** The inverse of `gathered` for a result whose features are `count` axes. */
const spread = (x: Tensor.Tensor, like: Tensor.Tensor, places: Places, count: number): Tensor.Tensor => {
  if (isPlain(places)) return x
  const { attention: own, batch } = places
  const order = [...batch, ...own]
  const features = x.shape.slice(x.rank - count)
  const apart = Tensor.reshape(x, [
    ...order.map((a) => sizeAt(like, a)),
    ...(features as ReadonlyArray<number>)
  ])
  const back = order.map((_, a) => order.indexOf(a))
  return Tensor.permute(apart, [...back, ...features.map((_, n) => order.length + n)]) as Tensor.Tensor
}

/** The attention mask and the window over [B, N, T, S], batch axes as one. */
const maskOf = (
  options: Common,
  inputs: Inputs,
  places: Places,
  query: Tensor.Tensor
): Mask.Keep | undefined => {
  const { slidingWindow } = options
  const near =
    slidingWindow === undefined ? undefined : Mask.slidingWindow(slidingWindow - 1, slidingWindow - 1)
  const given = inputs.attentionMask
  if (given === undefined) return near
  if (Mask.isMask(given)) {
    const keep = given._tag === "Keep" ? given : Mask.toKeep(given)
    return near === undefined ? keep : Mask.and(keep, near)
  }
  const count = places.attention.length
  const bools = given.dtype === "bool" ? given : (Tensor.ne(given, 0) as Tensor.Tensor)
  const lead = bools.shape.slice(0, bools.rank - 2 * count) as ReadonlyArray<number>
  const [queries, keys] = [0, 1].map(
    (side) =>
      bools.shape.slice(
        bools.rank - (2 - side) * count,
        bools.rank - (1 - side) * count
      ) as ReadonlyArray<number>
  ) as [ReadonlyArray<number>, ReadonlyArray<number>]
  const lengths = [queries, keys].map((sizes) => flatSize(sizes)) as [number, number]
  const batch = places.batch.map((a) => sizeAt(query, a))
  // [B, T, S] is for all batch axes but the first.
  const wide = Tensor.reshape(bools, [...lead, ...batch.slice(lead.length).map(() => 1), ...lengths])
  const full = Tensor.broadcastTo(wide, [...batch, ...lengths])
  const keep = Mask.fromTensor(Tensor.reshape(full, [-1, 1, ...lengths]) as Tensor.Tensor<"bool">)
  return near === undefined ? keep : Mask.and(keep, near)
}

/** One size where there is one; otherwise they are numbers and multiply. */
const flatSize = (sizes: ReadonlyArray<number>): number =>
  sizes.length === 1 ? (sizes[0] as number) : sizes.reduce((a, b) => a * b, 1)

const scoresOf = (
  weights: Tensor.Tensor,
  query: Tensor.Tensor,
  key: Tensor.Tensor,
  { attention: own, batch }: Places
): Tensor.Tensor => {
  const heads = sizeAt(weights, 1)
  const shape = [
    ...batch.map((a) => sizeAt(query, a)),
    heads,
    ...[query, key].flatMap((x) => own.map((a) => sizeAt(x, a)))
  ]
  return Tensor.cast(Tensor.reshape(weights, shape), query.dtype) as Tensor.Tensor
}
