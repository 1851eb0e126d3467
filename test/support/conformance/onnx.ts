import type { HostArray } from "../../../ir/HostArray.ts"
import * as Tensor from "../../../src/Tensor.ts"
import type { Case } from "./Case.ts"
import type { StoredCase } from "./load.ts"
import { modify, type ScoreGraph } from "./scoreGraph.ts"

/**
 * ONNX operators as tensor expressions, after their specifications (Attention-23 to -25, FlexAttention, RotaryEmbedding-23,
 * RMSNormalization-23, Softmax-13, TensorScatter-24). Shapes: B batch, Hq and Hkv heads, T queries, S keys, D head size.
 */

type T = Tensor.Tensor
type Positions = Tensor.Tensor<"i32">
type Inputs = { readonly [name: string]: T }
type Attributes = { readonly [name: string]: unknown }

const number = (attributes: Attributes, name: string, otherwise: number): number => {
  const value = attributes[name]
  return typeof value === "number" ? value : otherwise
}

const sizes = (x: T): ReadonlyArray<number> => x.shape as ReadonlyArray<number>
const size = (x: T, axis: number): number => sizes(x).at(axis) as number

/** (B, S, heads · dim) → (B, heads, S, dim); rank 4 stays. */
const split = (x: T, heads: number): T =>
  x.rank === 4
    ? x
    : Tensor.permute(Tensor.reshape(x, [size(x, 0), size(x, 1), heads, -1]), [0, 2, 1, 3] as const)

/** What a mask allows, as scores: bool keeps, floats are added; keys past a short mask are -inf. */
const applyMask = (scores: T, mask: T): T => {
  const short = size(scores, -1) - size(mask, -1)
  if (mask.dtype === "bool") {
    const edge =
      short > 0
        ? Tensor.concat([mask, Tensor.full([...sizes(mask).slice(0, -1), short], false, "bool")], -1)
        : mask
    return Tensor.where(edge as Tensor.Tensor<"bool">, scores, -Infinity)
  }
  const edge =
    short > 0
      ? Tensor.concat([mask, Tensor.full([...sizes(mask).slice(0, -1), short], -Infinity, mask.dtype)], -1)
      : mask
  return Tensor.add(scores, edge)
}

const attention =
  (attributes: Attributes) =>
  (inputs: Inputs): Inputs => {
    const {
      Q,
      K,
      V,
      attn_mask: mask,
      past_key: pastKey,
      past_value: pastValue,
      nonpad_kv_seqlen: lengths
    } = inputs as {
      readonly Q: T
      readonly K: T
      readonly V: T
    } & Inputs
    const q = split(Q, number(attributes, "q_num_heads", 0))
    const newK = split(K, number(attributes, "kv_num_heads", 0))
    const newV = split(V, number(attributes, "kv_num_heads", 0))
    const k = pastKey ? Tensor.concat([pastKey, newK], 2) : newK
    const v = pastValue ? Tensor.concat([pastValue, newV], 2) : newV
    const group = size(q, 1) / size(k, 1)
    const [queries, keys] = [size(q, 2), size(k, 2)]
    const cap = number(attributes, "softcap", 0)

    const raw = Tensor.mul(
      Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, group))),
      number(attributes, "scale", 1 / Math.sqrt(size(q, 3)))
    )
    const capped = cap > 0 ? Tensor.mul(Tensor.tanh(Tensor.div(raw, cap)), cap) : raw
    let scores = mask ? applyMask(capped, mask) : capped
    const i = Tensor.reshape(Tensor.arange(queries), [queries, 1])
    const j = Tensor.arange(keys)
    const perBatch = lengths ? Tensor.reshape(lengths, [-1, 1, 1, 1]) : undefined
    if (attributes["is_causal"] === 1) {
      const offset = perBatch ? Tensor.sub(perBatch, queries) : pastKey ? size(pastKey, 2) : 0
      scores = Tensor.where(Tensor.le(j, Tensor.add(i, offset)), scores, -Infinity)
    }
    if (perBatch) scores = Tensor.where(Tensor.lt(j, perBatch), scores, -Infinity)
    const weights = Tensor.softmax(scores, -1)
    const y = Tensor.matmul(weights, Tensor.repeatHeads(v, group))
    const stage = [raw, capped, scores, weights][number(attributes, "qk_matmul_output_mode", 0)]
    const Y =
      Q.rank === 4 ? y : Tensor.reshape(Tensor.permute(y, [0, 2, 1, 3] as const), [size(q, 0), queries, -1])
    return { Y, present_key: k, present_value: v, ...(stage ? { qk_matmul_output: stage } : {}) }
  }

const flexAttention =
  (attributes: Attributes) =>
  (inputs: Inputs): Inputs => {
    const { Q: q, K: k, V: v } = inputs as { readonly Q: T; readonly K: T; readonly V: T }
    const group = size(q, 1) / size(k, 1)
    const scores = Tensor.mul(
      Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, group))),
      number(attributes, "scale", 1 / Math.sqrt(size(q, 3)))
    )
    const modified = modify(attributes["score_mod"] as ScoreGraph | undefined, scores)
    const weights = modify(attributes["prob_mod"] as ScoreGraph | undefined, Tensor.softmax(modified, -1))
    return { Y: Tensor.matmul(weights, Tensor.repeatHeads(v, group)) }
  }

const last = (x: T, start: number, stop: number, step = 1): T => Tensor.slice(x, -1, { start, stop, step })

const rotary =
  (attributes: Attributes) =>
  (inputs: Inputs): Inputs => {
    const { X, cos_cache, sin_cache, position_ids } = inputs as {
      readonly X: T
      readonly cos_cache: T
      readonly sin_cache: T
    } & Inputs
    // (B, H, S, D); the cache is (B, S, R/2), or (positions, R/2) read at position_ids.
    const whole = size(X, 3)
    const rotated = number(attributes, "rotary_embedding_dim", 0) || whole
    const half = rotated / 2
    const at = (cache: T): T => {
      const rows = position_ids ? Tensor.take(cache, position_ids as Positions, 0) : cache
      return Tensor.expandDims(rows, 1)
    }
    const [cos, sin] = [at(cos_cache), at(sin_cache)]
    const interleaved = attributes["interleaved"] === 1
    const turned = last(X, 0, rotated)
    const [a, b] = interleaved
      ? [last(turned, 0, rotated, 2), last(turned, 1, rotated, 2)]
      : [last(turned, 0, half), last(turned, half, rotated)]
    const real = Tensor.sub(Tensor.mul(a, cos), Tensor.mul(b, sin))
    const imaginary = Tensor.add(Tensor.mul(b, cos), Tensor.mul(a, sin))
    const joined = interleaved
      ? Tensor.reshape(Tensor.stack([real, imaginary], -1), [...sizes(turned)])
      : Tensor.concat([real, imaginary], -1)
    return { Y: rotated === whole ? joined : Tensor.concat([joined, last(X, rotated, whole)], -1) }
  }

const rmsNormalization =
  (attributes: Attributes) =>
  (inputs: Inputs): Inputs => {
    const { X, scale } = inputs as { readonly X: T; readonly scale: T }
    const axis = number(attributes, "axis", -1)
    const first = axis < 0 ? axis + X.rank : axis
    const axes = sizes(X)
      .map((_, i) => i)
      .slice(first)
    const mean = Tensor.mean(Tensor.square(X), axes, { keepDims: true })
    const normal = Tensor.mul(X, Tensor.rsqrt(Tensor.add(mean, number(attributes, "epsilon", 1e-5))))
    return { Y: Tensor.mul(normal, scale) }
  }

const softmax =
  (attributes: Attributes) =>
  (inputs: Inputs): Inputs => ({
    output: Tensor.softmax(inputs["input"] as T, number(attributes, "axis", -1))
  })

const tensorScatter =
  (attributes: Attributes) =>
  (inputs: Inputs): Inputs => {
    const { past_cache, update, write_indices } = inputs as {
      readonly past_cache: T
      readonly update: T
      readonly write_indices: Positions
    }
    const axis = number(attributes, "axis", -2)
    const wrap = attributes["mode"] === "circular"
    return { present_cache: Tensor.updateSlice(past_cache, update, write_indices, { axis, wrap }) }
  }

const builders: { readonly [op: string]: (attributes: Attributes) => (inputs: Inputs) => Inputs } = {
  Attention: attention,
  FlexAttention: flexAttention,
  RotaryEmbedding: rotary,
  RMSNormalization: rmsNormalization,
  Softmax: softmax,
  TensorScatter: tensorScatter
}

export const onnxCase = (
  stored: StoredCase,
  inputs: { readonly [name: string]: HostArray },
  expected: { readonly [name: string]: HostArray }
): Case => {
  const build = (builders[stored.op] as (attributes: Attributes) => (inputs: Inputs) => Inputs)(
    stored.attributes
  )
  const half = Object.values(inputs).some((a) => a.dtype === "f16")
  return {
    name: stored.name,
    kind: stored.op,
    inputs,
    expected,
    // The published numbers come from a float32 evaluation (float16 inputs: rounded to 11 bits at the end).
    tolerance: half ? 2e-3 : 1e-5,
    build: (tensors) => {
      const all = build(tensors)
      return Object.fromEntries(Object.keys(expected).map((name) => [name, all[name] as T]))
    },
    attention: stored.op === "Attention" || stored.op === "FlexAttention"
  }
}
