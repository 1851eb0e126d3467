import * as Tensor from "../../../src/Tensor.ts"
import type { Any, Setting, Spelling } from "./Spelling.ts"
import { bhsd, bshd, D, drop, E, H, input, lowest, product, softmax } from "./Spelling.ts"

/** The thirty spellings that PyTorch Inductor lists (torch/_inductor/fx_passes/fuse_attention.py). */

const { add, cast, div, matmul, mul } = Tensor
const [root, inverse] = [Math.sqrt(D), 1 / Math.sqrt(D)]
const f32 = (x: Any): Any => cast(x, "f32")

/** An additive mask. */
const additive = ({ batch, dtype }: Setting): Any => input("mask", [batch, 1, "T", "S"], dtype)

/** A padding mask of DistilBERT: 0 where there is no key. */
const padded = ({ batch }: Setting, scores: Any): Any => {
  const absent = Tensor.eq(input("mask", [batch, "S"], "i32"), 0)
  const wide = Tensor.broadcastTo(Tensor.reshape(absent, [batch, 1, 1, "S"]), scores.shape)
  return Tensor.where(wide, Tensor.constant(-Infinity, scores.dtype), scores)
}

const most = { mask: 1 }

/** GPT-2: kT by permute, the divisor a filled 0-d tensor, causal by a buffer of bools, and the lowest number elsewhere. */
const gpt2 = ({ dtype }: Setting, q: Any, k: Any): Any => {
  const scores = div(matmul(q, Tensor.permute(k, [0, 1, 3, 2])), Tensor.full([], root, dtype))
  const buffer = Tensor.slice(input("buffer", [1, 1, "C", "C"], "bool"), 2, { start: 0, stop: "T" })
  const seen = Tensor.slice(buffer, 3, { start: 0, stop: "S" }) as Tensor.Tensor<"bool">
  return Tensor.where(seen, scores, Tensor.full([], lowest(dtype), dtype))
}

/** T5: no scale, scores rounded to the element type of q and widened again before the softmax. */
const t5 = ({ dtype }: Setting, scores: Any): Any => cast(softmax(f32(cast(scores, dtype))), dtype)

const half = ["f16"] as const
const both = ["f32", "f16"] as const

export const inductor: ReadonlyArray<Spelling> = [
  {
    name: "1: sm((q@kT)/s)@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bhsd(c)
      return matmul(softmax(div(product(q, k), root)), v)
    }
  },
  {
    name: "2: sm((q@kT)*s)@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bhsd(c)
      return matmul(softmax(mul(product(q, k), inverse)), v)
    }
  },
  {
    name: "3: drop(sm((q@kT)/s))@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bhsd(c)
      return matmul(drop(softmax(div(product(q, k), root)), c), v)
    }
  },
  {
    name: "4: drop(sm((q@kT)*s))@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bhsd(c)
      return matmul(drop(softmax(mul(product(q, k), inverse)), c), v)
    }
  },
  {
    name: "5: sm((q@kT)/s + m)@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bhsd(c)
      return matmul(softmax(add(div(product(q, k), root), additive(c))), v)
    }
  },
  {
    name: "6: drop(sm((q@kT)/s + m))@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bhsd(c)
      return matmul(drop(softmax(add(div(product(q, k), root), additive(c))), c), v)
    }
  },
  {
    name: "7: P; half(drop(sm(f32((q@kT)/s))))@v",
    dtypes: half,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(cast(drop(softmax(f32(div(product(q, k), root))), c), "f16"), v)
    }
  },
  {
    name: "8: P; half(sm(f32((q@kT)/s)))@v",
    dtypes: half,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(cast(softmax(f32(div(product(q, k), root))), "f16"), v)
    }
  },
  {
    name: "9: P; q←q/s; half(drop(sm(f32(q@kT))))@v",
    dtypes: half,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(cast(drop(softmax(f32(product(div(q, root), k))), c), "f16"), v)
    }
  },
  {
    name: "10: P; q←q/s; half(sm(f32(q@kT)))@v",
    dtypes: half,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(cast(softmax(f32(product(div(q, root), k))), "f16"), v)
    }
  },
  {
    name: "11: P; sm((q@kT)/s)@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(softmax(div(product(q, k), root)), v)
    }
  },
  {
    name: "12: P; drop(sm((q@kT)/s))@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(drop(softmax(div(product(q, k), root)), c), v)
    }
  },
  {
    name: "13: 3-D: bmm(drop(sm(bmm(q, k.swap(1,2)))), v)",
    dtypes: both,
    write: (c) => {
      const [q, k] = [input("q", [c.batch, "T", D], c.dtype), input("k", [c.batch, "S", D], c.dtype)]
      const weights = softmax(matmul(q, Tensor.swapAxes(k, 1, 2)))
      return matmul(drop(weights, c), input("v", [c.batch, "S", E], c.dtype))
    }
  },
  {
    name: "14: P; sm((q@kT)/s + m)@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(softmax(add(div(product(q, k), root), additive(c))), v)
    }
  },
  {
    name: "15: P; padding mask (B,S) == 0 viewed, expanded, filled with -inf; sm; @v",
    dtypes: both,
    most,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(softmax(padded(c, div(product(q, k), root))), v)
    }
  },
  {
    name: "16: P; cast_q(drop(sm((q@kT)/s + m)))@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      const mask = additive({ ...c, dtype: "f32" })
      return matmul(cast(drop(softmax(add(div(product(q, k), root), mask)), c), c.dtype), v)
    }
  },
  {
    name: "17: 15 with drop after the softmax",
    dtypes: both,
    most,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(drop(softmax(padded(c, div(product(q, k), root))), c), v)
    }
  },
  {
    name: "18: P; where(causal, (q@kT)/full, lowest); drop(sm)@v; also k and v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return { out: matmul(drop(softmax(gpt2(c, q, k)), c), v), k, v }
    }
  },
  {
    name: "19: where(causal, (q@kT)/full, lowest) + m; sm; cast_v; drop; @v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bhsd(c)
      const mask = additive({ ...c, dtype: "f32" })
      return matmul(drop(cast(softmax(add(gpt2(c, q, k), mask)), c.dtype), c), v)
    }
  },
  {
    name: "20: P; q←q/s; padding of 15; drop(sm)@v",
    dtypes: both,
    most,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(drop(softmax(padded(c, product(div(q, root), k))), c), v)
    }
  },
  {
    name: "21: P; (q@kT + m)→cast_q→f32→sm→cast_q; @v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(t5(c, add(product(q, k), additive(c))), v)
    }
  },
  {
    name: "22: 21, also k and v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return { out: matmul(t5(c, add(product(q, k), additive(c))), v), k, v }
    }
  },
  {
    name: "23: 22 without mask",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return { out: matmul(t5(c, f32(product(q, k))), v), k, v }
    }
  },
  {
    name: "24: (B·H,S,D); bmm; view + m; view back; sm; half; bmm; view",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bhsd(c)
      const BH = c.batch === 1 ? H : `${H}*B`
      const flat = (x: Any): Any => Tensor.reshape(x, [BH, x.shape[2] as string, x.shape[3] as number])
      const scores = Tensor.reshape(product(flat(q), flat(k)), [c.batch, H, "T", "S"])
      const weights = softmax(Tensor.reshape(add(scores, additive({ ...c, dtype: "f32" })), [BH, "T", "S"]))
      return Tensor.reshape(matmul(cast(weights, c.dtype), flat(v)), [c.batch, H, "T", E])
    }
  },
  {
    name: "25: P; drop(cast_q(sm(f32(q@kT + m))))@v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(drop(cast(softmax(f32(add(product(q, k), additive(c)))), c.dtype), c), v)
    }
  },
  {
    name: "26: 25, also k and v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      const weights = cast(softmax(f32(add(product(q, k), additive(c)))), c.dtype)
      return { out: matmul(drop(weights, c), v), k, v }
    }
  },
  {
    name: "27: 25 without mask, also k and v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return { out: matmul(drop(cast(softmax(f32(product(q, k))), c.dtype), c), v), k, v }
    }
  },
  {
    name: "28: drop(sm((q@kT)*s))@v of parts of one array",
    dtypes: both,
    write: (c) => {
      // Visformer: one convolution makes [B, 3, H, D, T], which is permuted and taken apart.
      const parts = Tensor.permute(input("qkv", [c.batch, 3, H, D, "T"], c.dtype), [1, 0, 2, 4, 3])
      const part = (n: number): Any =>
        Tensor.reshape(Tensor.slice(parts, 0, { start: n, stop: n + 1 }), [c.batch, H, "T", D])
      const [q, k, v] = [part(0), part(1), part(2)]
      return matmul(drop(softmax(mul(product(q, k), inverse)), c), v)
    }
  },
  {
    name: "29: P; (q*√s)@(kT*√s) + m; safe softmax; @v",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(safe(add(rooted(q, k), additive(c))), v)
    }
  },
  {
    name: "30: 29 without mask",
    dtypes: both,
    write: (c) => {
      const { q, k, v } = bshd(c)
      return matmul(safe(rooted(q, k)), v)
    }
  }
]

const rooted = (q: Any, k: Any): Any => {
  const s = Math.sqrt(inverse)
  return matmul(mul(q, s), mul(Tensor.swapAxes(k, -2, -1), s))
}

/** torch._safe_softmax: 0 in rows of nothing but -inf. */
const safe = (x: Any): Any => {
  const empty = Tensor.all(Tensor.eq(x, -Infinity), -1, { keepDims: true })
  return Tensor.where(empty as Tensor.Tensor<"bool">, 0, softmax(x))
}
