import * as DType from "../../ir/DType.ts"
import * as Attention from "../Attention.ts"
import { AttrError } from "../errors.ts"
import * as Score from "../Score.ts"
import * as Tensor from "../Tensor.ts"
import {
  type AttentionConfig,
  type AttentionInputs,
  type AttentionOutput,
  hasBias,
  type Projection,
  sizesOf
} from "./attentionConfig.ts"
import * as Masks from "./attentionMask.ts"
import { append, held } from "./cache.ts"
import * as Initialiser from "./Initialiser.ts"
import * as Layer from "./Layer.ts"
import { type LinearParams, linear } from "./linear.ts"
import { layerNorm, type NormParams, rmsNorm } from "./norm.ts"
import * as Offsets from "./offsets.ts"
import * as Params from "./Params.ts"
import { type Positions, rope } from "./rope.ts"

export type AttentionParams = {
  readonly query: LinearParams
  readonly key: LinearParams
  readonly value: LinearParams
  readonly out: LinearParams
  readonly gate: LinearParams | undefined
  readonly queryNorm: NormParams | undefined
  readonly keyNorm: NormParams | undefined
  /** [N] */
  readonly sinks: Params.Param | undefined
  /** [1, M, 1, D] and [1, M, 1, E] */
  readonly extraKey: Params.Param | undefined
  readonly extraValue: Params.Param | undefined
}

export type AttentionLayer = Layer.Layer<AttentionParams, AttentionInputs, AttentionOutput>

/** [..., T, H·D] as [B, H, T, D], batch axes as one. */
const heads = (x: Tensor.Tensor, count: number, size: number): Tensor.Tensor => {
  const length = x.shape.at(-2) as number
  return Tensor.permute(Tensor.reshape(x, [-1, length, count, size]), [0, 2, 1, 3]) as Tensor.Tensor
}

/** [B, H, T, D] as [B, T, H·D]. */
const joined = (x: Tensor.Tensor): Tensor.Tensor => {
  const [batch, count, length, size] = x.shape as readonly [number, number, number, number]
  return Tensor.reshape(Tensor.permute(x, [0, 2, 1, 3]), [batch, length, count * size]) as Tensor.Tensor
}

/** Rows behind those of every batch entry: [B, M, S, D] and [1, M, 1, D]. */
const behind = (x: Tensor.Tensor, row: Tensor.Tensor): Tensor.Tensor =>
  Tensor.concat(
    [x, Tensor.broadcastTo(row, [x.shape[0] as number, ...row.shape.slice(1)])],
    2
  ) as Tensor.Tensor

/**
 * Attention with its projections: every option of MLX's, PyTorch's, Keras' and Flax's layers in one. Builds expressions only, which fuse as
 * anybody's do. Throws `AttrError` for a configuration that does not fit together.
 */
export const attention = (config: AttentionConfig): AttentionLayer => {
  const sizes = sizesOf(config)
  const { features, keyFeatures, valueFeatures, headSize, valueHeadSize } = sizes
  const dtype = config.dtype ?? "f32"
  const projection = (of: Projection, from: number, to: number) =>
    linear({
      in: from,
      out: to,
      bias: hasBias(config, of),
      dtype,
      init: config.init?.[of] ?? Initialiser.glorotUniform({ in: from, out: to }),
      biasInit:
        (typeof config.biasInit === "function" ? config.biasInit : config.biasInit?.[of]) ?? Initialiser.zeros
    })
  const outSize = sizes.out.reduce((a, b) => a * b, 1)
  const layers = {
    query: projection("query", features, sizes.heads * headSize),
    key: projection("key", keyFeatures, sizes.kvHeads * headSize),
    value: projection("value", valueFeatures, sizes.kvHeads * valueHeadSize),
    out: projection("out", sizes.heads * valueHeadSize, outSize),
    gate: config.gate === true ? projection("gate", features, sizes.heads * valueHeadSize) : undefined
  }
  const norm =
    config.qkNorm === undefined
      ? undefined
      : config.qkNorm === "rms"
        ? rmsNorm({ features: headSize, epsilon: config.qkNormEpsilon, dtype })
        : layerNorm({ features: headSize, epsilon: config.qkNormEpsilon, bias: false, dtype })
  const extra = (size: number): Params.Param | undefined =>
    config.extraKey === true
      ? Params.param(dtype, [1, sizes.kvHeads, 1, size], Initialiser.glorotNormal({ in: size, out: size }))
      : undefined
  const params: AttentionParams = {
    query: layers.query.params,
    key: layers.key.params,
    value: layers.value.params,
    out: layers.out.params,
    gate: layers.gate?.params,
    queryNorm: norm?.params,
    keyNorm: norm?.params,
    sinks: config.sinks === true ? Params.param(dtype, [sizes.heads], Initialiser.zeros) : undefined,
    extraKey: extra(headSize),
    extraValue: extra(valueHeadSize)
  }
  const attend = config.attention ?? Attention.stages
  const { compute } = config
  /** Floats as they are computed with. */
  const cast = (x: Tensor.Tensor): Tensor.Tensor =>
    compute === undefined || !DType.isFloat(x.dtype) ? x : Tensor.cast(x, compute)

  return Layer.make(params, (given, brought: AttentionInputs) => {
    const p = mapped(given, cast)
    const inputs = mapped(brought, cast)
    const { query, key = query, value = key, cache } = inputs
    const lead = query.shape.slice(0, -2)
    const length = query.shape.at(-2) as number
    const turned = (x: Tensor.Tensor, own: typeof p.queryNorm, side?: "key"): Tensor.Tensor => {
      const normed = norm === undefined || own === undefined ? x : norm.apply(own, x)
      if (config.rope === undefined) return normed
      return rope(
        normed,
        config.rope,
        inputs.positions ??
          placed(side === "key" ? (inputs.keyOffsets ?? inputs.offsets) : inputs.offsets, x, cache)
      )
    }
    const q = turned(heads(layers.query.apply(p.query, query), sizes.heads, headSize), p.queryNorm)
    const { keyHeads, valueHeads } = projectedAlready(inputs)
    let k = keyHeads ?? turned(heads(layers.key.apply(p.key, key), sizes.kvHeads, headSize), p.keyNorm, "key")
    let v = valueHeads ?? heads(layers.value.apply(p.value, value), sizes.kvHeads, valueHeadSize)
    const next = cache === undefined ? undefined : append(cache, k, v)
    if (next !== undefined) [k, v] = held(next)
    const known = k.shape[2] as number
    if (p.extraKey !== undefined && p.extraValue !== undefined)
      [k, v] = [behind(k, p.extraKey as Tensor.Tensor), behind(v, p.extraValue as Tensor.Tensor)]
    if (config.zeroKey === true) {
      const row = [
        [0, 0],
        [0, 0],
        [0, 1],
        [0, 0]
      ] as const
      ;[k, v] = [k, v].map((x) => Tensor.pad(x, row)) as [Tensor.Tensor, Tensor.Tensor]
    }
    const more = (config.extraKey === true ? 1 : 0) + (config.zeroKey === true ? 1 : 0)
    const stages = attend(q, k, v, {
      scale: config.scale,
      softcap: config.softcap,
      score: scoreOf(config, q, k, cache, more),
      fill: config.fill,
      sinks: p.sinks as Tensor.Tensor | undefined,
      dropout: dropoutOf(config, inputs),
      ...Masks.combine(config, inputs, { known, extra: more }, cache)
    })
    const flat = joined(stages.result)
    const open =
      layers.gate === undefined || p.gate === undefined
        ? flat
        : Tensor.mul(flat, Tensor.sigmoid(asBatch(layers.gate.apply(p.gate, query))))
    const projected = layers.out.apply(p.out, open as Tensor.Tensor)
    const out = Tensor.reshape(projected, [...lead, length, ...sizes.out]) as Tensor.Tensor
    return { out, stages, cache: next }
  })
}

/** The tensors of a record changed, records in it too; what is no tensor stays. A mask or a bias is rounded where it is added. */
const mapped = <A extends object>(x: A, change: (x: Tensor.Tensor) => Tensor.Tensor): A =>
  Object.fromEntries(
    Object.entries(x).map(([name, own]) => [
      name,
      Tensor.isTensor(own)
        ? change(own)
        : typeof own === "object" && own !== null && Object.getPrototypeOf(own) === Object.prototype
          ? mapped(own, change)
          : own
    ])
  ) as A

/** Where rows stand unless a call says so itself. */
const placed = (
  offsets: Tensor.Tensor | undefined,
  x: Tensor.Tensor,
  cache: AttentionInputs["cache"]
): Positions =>
  cache !== undefined
    ? { offset: cache.length }
    : offsets === undefined
      ? {}
      : { positions: Offsets.positions(offsets, x.shape.at(-2) as number) }

/** Keys and values that need no projection: both or none, and no cache to put them in. */
const projectedAlready = ({ keyHeads, valueHeads, cache }: AttentionInputs) => {
  const both = keyHeads !== undefined && valueHeads !== undefined
  if (both && cache !== undefined)
    throw new AttrError({
      op: "attention",
      message: "keyHeads and valueHeads are not written into a cache",
      hint: "pass the cache's own heads without it"
    })
  if (both || (keyHeads === undefined && valueHeads === undefined)) return { keyHeads, valueHeads }
  throw new AttrError({
    op: "attention",
    message: `keyHeads and valueHeads go together, given ${both ? "" : keyHeads === undefined ? "valueHeads" : "keyHeads"}`,
    hint: "project the other one too"
  })
}

/** What becomes of the logits: the slopes of ALiBi count from where a query really stands. */
const scoreOf = (
  { alibi = false, score, heads: count }: AttentionConfig,
  q: Tensor.Tensor,
  k: Tensor.Tensor,
  cache: AttentionInputs["cache"],
  extra: number
): Attention.Options["score"] => {
  if (!alibi) return score
  if (extra > 0 || cache?.ring === true)
    throw new AttrError({
      op: "attention",
      message: `alibi counts positions, which ${extra > 0 ? "keys behind the others" : "a ring"} have not`,
      hint: "leave one out"
    })
  const [queries, keys] = [q, k].map((x) => Tensor.dim(x.shape[2] as number))
  const from =
    cache === undefined ? Tensor.sub(keys as Tensor.Tensor, queries as Tensor.Tensor) : each(cache.length)
  const slopes = Score.alibi(count, { offset: from as Tensor.Tensor<"i32"> })
  return score === undefined ? slopes : Score.andThen(slopes, score)
}

/** One number for all entries, or one for each, over [B, N, T, S]. */
const each = (x: Tensor.Tensor): Tensor.Tensor =>
  x.rank === 0 ? x : (Tensor.reshape(x, [-1, 1, 1, 1]) as Tensor.Tensor)

/** [..., T, F] as [B, T, F]. */
const asBatch = (x: Tensor.Tensor): Tensor.Tensor =>
  Tensor.reshape(x, [-1, x.shape.at(-2) as number, x.shape.at(-1) as number]) as Tensor.Tensor

const dropoutOf = (config: AttentionConfig, inputs: AttentionInputs): Attention.Options["dropout"] => {
  const rate = config.dropout ?? 0
  if (inputs.training !== true || rate === 0) return undefined
  if (inputs.seed === undefined) {
    throw new AttrError({
      op: "attention",
      message: `dropout of ${rate} in training needs a seed`,
      hint: "pass { training: true, seed }: a number, or a u32 scalar that each call brings along"
    })
  }
  return { rate, seed: inputs.seed, broadcast: config.broadcastDropout }
}
