import { spec, Tensor } from "../../src/index.ts"
import { causal } from "./causal.ts"
import { exhibit } from "./exhibit.ts"

/** A second product, of queries and keys that carry positions; all heads share its keys. */
export const ropeTerm = (logits: Tensor.Tensor<"f32">, q: Tensor.Tensor<"f32">, k: Tensor.Tensor<"f32">) =>
  Tensor.add(logits, Tensor.mul(Tensor.matmul(q, Tensor.transpose(k)), 1 / Math.sqrt(8)))

/** Points on a circle, one for each position. */
const turned = (heads: number) =>
  Array.from({ length: heads * 16 * 2 }, (_, n) => {
    const angle = 0.4 * (Math.floor(n / 2) % 16)
    return 3 * (n % 2 === 0 ? Math.cos(angle) : Math.sin(angle))
  })

export const attention = exhibit({
  about:
    "Positions in features of their own, beside those of the content. MLA, DeepSeek-V2 2024, arXiv 2405.04434",
  inputs: { queryRope: spec("f32", ["B", 2, "T", 2]), keyRope: spec("f32", ["B", 1, "T", 2]) },
  score: (logits, { queryRope, keyRope }) => ropeTerm(logits, queryRope, keyRope),
  mask: () => causal,
  lengths: { T: 16 },
  data: { queryRope: turned(2), keyRope: turned(1) }
})
