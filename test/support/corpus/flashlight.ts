import * as Tensor from "../../../src/Tensor.ts"
import type { Any, Setting, Spelling } from "./Spelling.ts"
import { bhsd, D, E, H, input, product, softmax } from "./Spelling.ts"

/** The variants that Flashlight publishes (arXiv 2511.02043), each plain and with grouped queries in five axes. */

const { add, cast, matmul, mul, sub } = Tensor
const inverse = 1 / Math.sqrt(D)
const M = 2
const G = H / M

type Bool = Tensor.Tensor<"bool">

const row = (): Any => Tensor.reshape(Tensor.arange("T"), ["T", 1])
const column = (): Any => Tensor.reshape(Tensor.arange("S"), [1, "S"])

/** What happens to scores [..., T, S]; `heads` gives values for each head the axes of the scores. */
type Change = (scores: Any, c: Setting, heads: (x: Any) => Any) => Any

const masked = (scores: Any, drop: Any, fill: number): Any => Tensor.where(drop as Bool, fill, scores)

const changes: { readonly [name: string]: Change } = {
  vanilla: (scores) => scores,
  "causal: where(triu, -inf, scores)": (scores) => {
    const ones = Tensor.ones(["T", "S"], "bool")
    return masked(scores, Tensor.triu(ones, 1), -Infinity)
  },
  "ALiBi: outer difference of arange": (scores, _, heads) =>
    add(scores, mul(heads(input("slopes", [H])), cast(sub(column(), row()), "f32"))),
  softcap: (scores) => mul(20, Tensor.tanh(Tensor.div(scores, 20))),
  "sliding window": (scores) => {
    const distance = sub(row(), column())
    return masked(scores, Tensor.or(Tensor.gt(distance, 3), Tensor.lt(distance, 0)), -Infinity)
  },
  "prefix-LM: masked_fill(…, -1e10)": (scores) => {
    const after = Tensor.and(Tensor.gt(column(), row()), Tensor.ge(column(), input("prefix", [], "i32")))
    return masked(scores, after, -1e10)
  },
  "document: masked_fill(…, -1e10)": (scores) => {
    const [query, key] = [input("query documents", ["T"], "i32"), input("key documents", ["S"], "i32")]
    return masked(scores, Tensor.ne(Tensor.reshape(query, ["T", 1]), Tensor.reshape(key, [1, "S"])), -1e10)
  }
}

const plain =
  (change: Change) =>
  (c: Setting): Any => {
    const { q, k, v } = bhsd(c)
    const scores = mul(product(q, k), inverse)
    return matmul(softmax(change(scores, c, (x) => Tensor.reshape(x, [H, 1, 1]))), v)
  }

const grouped =
  (change: Change) =>
  (c: Setting): Any => {
    const { q, k, v } = bhsd(c, M)
    const five = Tensor.reshape(q, [c.batch, M, G, "T", D])
    const scores = mul(product(five, Tensor.expandDims(k, 2)), inverse)
    const weights = softmax(change(scores, c, (x) => Tensor.reshape(x, [M, G, 1, 1])))
    return Tensor.reshape(matmul(weights, Tensor.expandDims(v, 2)), [c.batch, H, "T", E])
  }

/** Two maps of weights over one value, subtracted. */
const differential = (c: Setting): Any => {
  const [q1, q2] = [input("q1", [c.batch, H, "T", D], c.dtype), input("q2", [c.batch, H, "T", D], c.dtype)]
  const [k1, k2] = [input("k1", [c.batch, H, "S", D], c.dtype), input("k2", [c.batch, H, "S", D], c.dtype)]
  const v = input("v", [c.batch, H, "S", E], c.dtype)
  const weights = (q: Any, k: Any): Any => softmax(mul(product(q, k), inverse))
  return sub(matmul(weights(q1, k1), v), mul(input("lambda", []), matmul(weights(q2, k2), v)))
}

/** Rows attend to their own columns: [B, N, S, H, D], and two biases that broadcast over different axes. */
const evoformer = (c: Setting): Any => {
  const each = (name: string, size: number): Any =>
    Tensor.swapAxes(input(name, [c.batch, "N", "S", H, size], c.dtype), -2, -3)
  const [q, k, v] = [mul(each("q", D), inverse), each("k", D), each("v", E)]
  let scores: Any = matmul(q, Tensor.permute(k, [0, 1, 2, 4, 3]))
  const biases = [
    input("mask bias", [c.batch, "N", 1, 1, "S"]),
    input("pair bias", [c.batch, 1, H, "S", "S"])
  ]
  for (const bias of biases) scores = add(scores, bias)
  const gate = Tensor.sigmoid(input("gate", [c.batch, "N", "S", H, E]))
  return mul(Tensor.swapAxes(matmul(softmax(scores), v), -2, -3), gate)
}

const dtypes = ["f32", "f16"] as const
const most = { prefix: 5, "query documents": 2, "key documents": 2 }

export const flashlight: ReadonlyArray<Spelling> = [
  ...Object.entries(changes).map(([name, change]) => ({ name, dtypes, most, write: plain(change) })),
  ...Object.entries(changes).map(([name, change]) => ({
    name: `grouped queries in five axes, ${name}`,
    dtypes,
    most,
    write: grouped(change)
  })),
  { name: "differential attention", dtypes, nodes: 2, write: differential },
  { name: "Evoformer: biases added in a loop, gated", dtypes, write: evoformer }
]
