import * as Tensor from "../../../src/Tensor.ts"
import type { Any, Setting, Spelling } from "./Spelling.ts"
import { D, drop, E, H, input, lowest, softmax } from "./Spelling.ts"

/** Flax, Keras, and the path of torch.nn.MultiheadAttention that returns weights. */

const { add, cast, div, matmul, mul, sub } = Tensor
const root = Math.sqrt(D)

/** q [B, T, H, D], k [B, S, H, D], v [B, S, H, E]. */
const positionsFirst = ({ batch, dtype }: Setting) => ({
  q: input("q", [batch, "T", H, D], dtype),
  k: input("k", [batch, "S", H, D], dtype),
  v: input("v", [batch, "S", H, E], dtype)
})

const seen = ({ batch }: Setting): Tensor.Tensor<"bool"> =>
  input("seen", [batch, 1, "T", "S"], "bool") as Tensor.Tensor<"bool">

const flax = (c: Setting, weigh: (weights: Any) => Any): Any => {
  const { q, k, v } = positionsFirst(c)
  const scores = Tensor.einsum("bqhd,bkhd->bhqk", div(q, Tensor.cast(Tensor.constant(root), c.dtype)), k)
  const biased = add(scores, input("bias", [1, H, "T", "S"], c.dtype))
  const weights = cast(softmax(Tensor.where(seen(c), biased, lowest(c.dtype))), c.dtype)
  return Tensor.einsum("bhqk,bkhd->bqhd", weigh(weights), v)
}

/** One keep-mask for all heads and the whole batch. */
const broadcastDrop = (weights: Any): Any => {
  const keep = Tensor.dropoutMask(11, ["T", "S"], 0.25)
  return mul(weights, div(cast(keep, weights.dtype), 0.75))
}

const keras = (c: Setting, mask: (scores: Any) => Any): Any => {
  const { q, k, v } = positionsFirst(c)
  const scores = Tensor.einsum("aecd,abcd->acbe", k, mul(q, 1 / root))
  return Tensor.einsum("acbe,aecd->abcd", drop(softmax(mask(scores)), c), v)
}

const large = ({ dtype }: Setting): number => (dtype === "f16" ? -3e4 : -1e9)

/** [L, N · H, d], as a view of [L, N, H · d]. */
const torch = (c: Setting) => {
  const NH = c.batch === 1 ? H : `${H}*B`
  const each = (name: string, length: string, size: number): Any =>
    Tensor.swapAxes(
      Tensor.reshape(input(name, [length, c.batch, H * size], c.dtype), [length, NH, size]),
      0,
      1
    )
  const [q, k, v] = [each("q", "T", D), each("k", "S", D), each("v", "S", E)]
  const mask = input("mask", [NH, "T", "S"], c.dtype)
  // baddbmm(mask, q · √(1/d), kT)
  const scores = add(mask, matmul(mul(q, Math.sqrt(1 / D)), Tensor.swapAxes(k, -2, -1)))
  const weights = drop(softmax(scores), c)
  const out = Tensor.reshape(Tensor.swapAxes(matmul(weights, v), 0, 1), ["T", c.batch, H * E])
  return { out, weights: Tensor.mean(Tensor.reshape(weights, [c.batch, H, "T", "S"]), 1) }
}

const both = ["f32", "f16"] as const

export const frameworks: ReadonlyArray<Spelling> = [
  { name: "Flax: q/√d, einsum, bias, where(mask, x, lowest)", dtypes: both, write: (c) => flax(c, (w) => w) },
  {
    name: "Flax: dropout broadcast over batch and heads",
    dtypes: both,
    write: (c) => flax(c, broadcastDrop)
  },
  {
    name: "Keras: q·s, einsum of key and query, where(mask, x, -1e9)",
    dtypes: both,
    write: (c) => keras(c, (scores) => Tensor.where(seen(c), scores, large(c)))
  },
  {
    name: "Keras: (1 - mask) · -1e9 added",
    dtypes: both,
    write: (c) => keras(c, (scores) => add(scores, mul(sub(1, cast(seen(c), c.dtype)), large(c))))
  },
  { name: "torch MHA: baddbmm over [L, N·H, d]", dtypes: both, write: (c) => torch(c).out },
  { name: "torch MHA: also the mean of the weights", dtypes: both, returnsWeights: true, write: torch }
]
