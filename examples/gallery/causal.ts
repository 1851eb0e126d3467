import { Mask, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

export const causal = Mask.keepWhere(({ query, key }) => Tensor.le(key, query))

export const attention = exhibit({
  about: "A query sees itself and the keys before it. Vaswani et al. 2017, arXiv 1706.03762",
  mask: () => causal,
  lengths: { T: 16 }
})
