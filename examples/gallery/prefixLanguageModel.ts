import { Mask, spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** `prefix` is the length of the prefix of each batch entry. */
export const prefixLanguageModel = (prefix: Tensor.Tensor<"i32">) =>
  Mask.keepWhere(({ query, key, batch }) =>
    Tensor.or(Tensor.lt(key, Tensor.take(prefix, batch, 0)), Tensor.le(key, query))
  )

export const attention = exhibit({
  about: "The prefix is seen by all, the rest is causal. T5, Raffel et al. 2020, arXiv 1910.10683",
  inputs: { prefix: spec("i32", ["B"]) },
  mask: ({ prefix }) => prefixLanguageModel(prefix),
  lengths: { T: 16 },
  data: { prefix: [6] }
})
