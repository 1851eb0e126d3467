import { Tensor } from "../../src/index.ts"
import { causal } from "./causal.ts"
import { exhibit } from "./exhibit.ts"

/** What sinusoidal positions of `size` features say of each distance: Σ cos(distance · ω), computed once. */
const table = (length: string, size: number) => {
  const frequency = Tensor.fromValues(Array.from({ length: size / 2 }, (_, i) => 10000 ** ((-2 * i) / size)))
  return Tensor.sum(Tensor.cos(Tensor.mul(Tensor.expandDims(Tensor.iota(length), 1), frequency)), -1)
}

/** The table by distance, divided by a ratio that grows from head to head. */
export const sandwich = (logits: Tensor.Tensor<"f32">, heads: number, length: string) => {
  const distance = Tensor.sub(
    Tensor.positions(logits, -1),
    Tensor.expandDims(Tensor.positions(logits, -2), 1)
  )
  const bias = Tensor.take(table(length, 32), Tensor.abs(distance), 0)
  const ratio = Tensor.mul(Tensor.add(Tensor.iota(heads), 1), 8 / heads)
  return Tensor.add(logits, Tensor.div(bias, Tensor.reshape(ratio, [heads, 1, 1])))
}

export const attention = exhibit({
  about:
    "Sinusoidal positions, of which only the product is left. Sandwich, Chi et al. 2023, arXiv 2212.10356",
  score: (logits) => sandwich(logits, 8, "T"),
  mask: () => causal,
  heads: 8,
  lengths: { T: 16 }
})
