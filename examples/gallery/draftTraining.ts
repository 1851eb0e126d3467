import { Mask, spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** After the prefix, blocks of `size` that see the prefix and, causally, themselves. */
export const draftTraining = (prefix: Tensor.Tensor<"i32">, size: number) => {
  const block = Mask.reindex(Mask.chunked(size), (p) => Tensor.sub(p, prefix))
  return Mask.or(Mask.prefix(prefix), Mask.and(block, Mask.causal))
}

export const attention = exhibit({
  about:
    "Blocks drafted side by side see the prefix and, causally, themselves. attention-gym, JetSpec training",
  inputs: { prefix: spec("i32", []) },
  mask: ({ prefix }) => draftTraining(prefix, 4),
  lengths: { T: 17 },
  data: { prefix: [5] }
})
