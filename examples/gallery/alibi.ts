import { Tensor } from "../../src/index.ts"
import { causal } from "./causal.ts"
import { exhibit } from "./exhibit.ts"

/** Farther keys count less: logits fall by 2^(-8(h+1)/H) for each position. */
export const alibi = (logits: Tensor.Tensor<"f32">, heads: number) => {
  const distance = Tensor.sub(
    Tensor.positions(logits, -1),
    Tensor.expandDims(Tensor.positions(logits, -2), 1)
  )
  const slope = Tensor.exp2(Tensor.mul(Tensor.add(Tensor.iota(heads), 1), -8 / heads))
  return Tensor.add(logits, Tensor.mul(Tensor.reshape(slope, [heads, 1, 1]), distance))
}

export const attention = exhibit({
  about: "Farther keys count less, by another slope in each head. ALiBi, Press et al. 2022, arXiv 2108.12409",
  score: (logits) => alibi(logits, 8),
  mask: () => causal,
  heads: 8,
  lengths: { T: 16 }
})
