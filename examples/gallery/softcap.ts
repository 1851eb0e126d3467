import { Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** Logits stay between -cap and cap. */
export const softcap = (logits: Tensor.Tensor<"f32">, cap: number) =>
  Tensor.mul(Tensor.tanh(Tensor.div(logits, cap)), cap)

/** Logits that grow from row to row and from key to key. */
const slope = (factor: number) =>
  Array.from({ length: 2 * 16 * 8 }, (_, n) => (n % 8 === 0 ? factor * (Math.floor(n / 8) % 16) : 0))

export const attention = exhibit({
  about: "Logits are bent towards a cap, so that no key takes it all. Gemma 2, 2024, arXiv 2408.00118",
  score: (logits) => softcap(logits, 2),
  lengths: { T: 16 },
  data: { q: slope(0.2), k: slope(0.4) }
})
