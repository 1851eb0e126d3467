import { Mask, spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** Text sees an image of `tokens` keys from `starts` of the image up to its `ends`. */
export const visionCross = (starts: Tensor.Tensor<"i32">, ends: Tensor.Tensor<"i32">, tokens: number) =>
  Mask.keepWhere(({ query, key }) => {
    const image = Tensor.floorDiv(key, Tensor.dim(tokens))
    return Tensor.and(
      Tensor.ge(query, Tensor.take(starts, image, 0)),
      Tensor.lt(query, Tensor.take(ends, image, 0))
    )
  })

export const attention = exhibit({
  about: "Text sees the image that it speaks about. Flamingo, Alayrac et al. 2022, arXiv 2204.14198",
  inputs: { starts: spec("i32", ["N"]), ends: spec("i32", ["N"]) },
  mask: ({ starts, ends }) => visionCross(starts, ends, 4),
  keys: "4*N",
  lengths: { T: 12, N: 4 },
  data: { starts: [1, 1, 5, 8], ends: [5, 5, 8, 12] }
})
