import * as Score from "../../../src/Score.ts"
import * as Tensor from "../../../src/Tensor.ts"
import type { Any, Setting, Spelling } from "./Spelling.ts"
import { bshd, D, drop, E, H, heads, input, product, softmax } from "./Spelling.ts"

/** The eager paths of Hugging Face Transformers, by model. */

const { add, cast, div, matmul, mul, sub } = Tensor
const inverse = 1 / Math.sqrt(D)
const M = 2
const G = H / M

/** repeat_kv: [B, M, S, D] with a new axis, expanded, and folded into the heads. */
const repeated = (x: Any): Any => {
  const [b, m, s, d] = x.shape as readonly [string | number, number, string, number]
  const wide = Tensor.broadcastTo(Tensor.expandDims(x, 2), [b, m, G, s, d])
  return Tensor.reshape(wide, [b, m * G, s, d])
}

/** The causal mask as it is added, longer than the keys and cut to their length. */
const causalMask = ({ batch, dtype }: Setting): Any =>
  Tensor.slice(input("mask", [batch, 1, "T", "L"], dtype), -1, { start: 0, stop: "S" })

/** Softmax in f32, and back to the element type of q. */
const wide = (x: Any, { dtype }: Setting): Any => cast(softmax(cast(x, "f32")), dtype)

/** transpose(1, 2).contiguous(), and the heads side by side. */
const merged = (x: Any, { batch }: Setting): Any =>
  Tensor.reshape(heads(x), [batch, "T", H * (x.shape[3] as number)])

const llama = (c: Setting): { readonly out: Any; readonly weights: Any } => {
  const { q, k, v } = bshd(c, M)
  const scores = add(mul(product(q, repeated(k)), inverse), causalMask(c))
  const weights = drop(wide(scores, c), c)
  return { out: merged(matmul(weights, repeated(v)), c), weights }
}

const gemma2 = (c: Setting): Any => {
  const { q, k, v } = bshd(c, M)
  const scores = mul(product(q, repeated(k)), inverse)
  const capped = mul(Tensor.tanh(div(scores, 50)), 50)
  const weights = wide(add(capped, causalMask(c)), c)
  return merged(matmul(drop(weights, c), repeated(v)), c)
}

/** A column of sinks beside the scores; the softmax stays in the element type of the scores. */
const gptOss = (c: Setting): Any => {
  const { q, k, v } = bshd(c, M)
  const scores = add(mul(product(q, repeated(k)), inverse), causalMask(c))
  const sinks = Tensor.reshape(input("sinks", [H], c.dtype), [1, H, 1, 1])
  const logits = Tensor.concat([scores, Tensor.broadcastTo(sinks, [c.batch, H, "T", 1])], -1)
  const shifted = sub(logits, Tensor.max(logits, -1, { keepDims: true }))
  const weights = Tensor.slice(softmax(shifted), -1, { start: 0, stop: "S" })
  return merged(matmul(drop(weights, c), repeated(v)), c)
}

/** Learned entries by bucket of distance, [T, S, H], heads brought to the front. */
const t5Bias = (c: Setting): Any => {
  const distance = sub(Tensor.expandDims(Tensor.iota("S"), 0), Tensor.expandDims(Tensor.iota("T"), 1))
  const buckets = Score.t5Buckets({ buckets: 8, maxDistance: 16 })(distance as Tensor.Tensor<"i32">)
  const values = Tensor.take(input("table", [8, H], c.dtype), buckets, 0)
  return Tensor.expandDims(Tensor.permute(values, [2, 0, 1]), 0)
}

const t5 = (bias: (c: Setting) => Any) => (c: Setting) => {
  const { q, k, v } = bshd(c)
  const scores = mul(product(q, k), 1)
  return merged(matmul(drop(wide(add(scores, add(bias(c), causalMask(c))), c), c), v), c)
}

/** One projection makes q, k and v side by side. */
const gpt2 = (c: Setting): Any => {
  const parts = Tensor.split(input("qkv", [c.batch, "T", 3 * H * D], c.dtype), 3, 2)
  const [q, k, v] = parts.map((x) => heads(Tensor.reshape(x, [c.batch, "T", H, D]))) as [Any, Any, Any]
  const mask = input("mask", [c.batch, 1, "T", "T"], c.dtype)
  const weights = cast(softmax(add(mul(product(q, k), inverse), mask)), v.dtype)
  return merged(matmul(drop(weights, c), v), c)
}

/** exp(λq1·λk1) - exp(λq2·λk2) + λ of the layer. */
const lambda = ({ dtype }: Setting): Any => {
  const of = (n: number): Any => {
    const [a, b] = [input(`lambda q${n}`, [D]), input(`lambda k${n}`, [D])]
    return cast(Tensor.exp(Tensor.sum(mul(a, b), -1)), dtype)
  }
  return add(sub(of(1), of(2)), 0.8)
}

/** The difference of the two halves of the heads, normalised. */
const differential = (out: Any, c: Setting): Any => {
  const [first, second] = Tensor.split(out, 2, 1) as unknown as readonly [Any, Any]
  const normed = Tensor.rmsNorm(sub(first, mul(lambda(c), second)), { epsilon: 1e-5 })
  return Tensor.reshape(heads(mul(1 - 0.8, normed)), [c.batch, "T", H * E])
}

const diffLlama = (c: Setting) => {
  const { q, k, v } = bshd(c, M)
  const scores = add(div(product(q, repeated(k)), Math.sqrt(D)), causalMask(c))
  return {
    weights: drop(wide(scores, c), c),
    halves: Tensor.split(repeated(v), 2, 1) as unknown as [Any, Any]
  }
}

const both = ["f32", "f16"] as const

export const huggingFace: ReadonlyArray<Spelling> = [
  { name: "Llama", dtypes: both, write: (c) => llama(c).out },
  { name: "Llama, also the weights", dtypes: both, returnsWeights: true, write: llama },
  { name: "Gemma-2: softcap", dtypes: both, write: gemma2 },
  { name: "gpt-oss: sinks by a concatenated column", dtypes: both, write: gptOss },
  {
    name: "T5: a position bias that is given, and a mask",
    dtypes: both,
    write: t5((c) => input("bias", [1, H, "T", "S"], c.dtype))
  },
  { name: "T5: a position bias by buckets, and a mask", dtypes: both, write: t5(t5Bias) },
  { name: "GPT-2", dtypes: both, write: gpt2 },
  {
    name: "DiffLlama, eager: both halves of the values side by side",
    dtypes: both,
    ownValues: true,
    write: (c) => {
      const { weights, halves } = diffLlama(c)
      const values = Tensor.tile(Tensor.concat(halves, -1), [1, 2, 1, 1])
      return differential(matmul(weights, values), c)
    }
  },
  {
    name: "DiffLlama, two calls",
    dtypes: both,
    ownValues: true,
    nodes: 2,
    write: (c) => {
      const { weights, halves } = diffLlama(c)
      const [first, second] = halves.map((half) => matmul(weights, Tensor.tile(half, [1, 2, 1, 1])))
      return differential(Tensor.concat([first as Any, second as Any], -1), c)
    }
  }
]
