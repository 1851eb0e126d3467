import { Mask, spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** `isGlobal` says of each position whether it sees all and is seen by all. */
export const globalTokens = (width: number, isGlobal: Tensor.Tensor<"bool">) =>
  Mask.keepWhere(({ query, key }) => {
    const near = Tensor.le(Tensor.abs(Tensor.sub(query, key)), width)
    return Tensor.or(near, Tensor.or(Tensor.take(isGlobal, query, 0), Tensor.take(isGlobal, key, 0)))
  })

export const attention = exhibit({
  about:
    "A window of 2 to both sides, and a few tokens that see all and are seen by all. Longformer, Beltagy et al. 2020, arXiv 2004.05150",
  inputs: { isGlobal: spec("bool", ["T"]) },
  mask: ({ isGlobal }) => globalTokens(2, isGlobal),
  lengths: { T: 16 },
  data: { isGlobal: Array.from({ length: 16 }, (_, i) => (i === 0 || i === 9 ? 1 : 0)) }
})
