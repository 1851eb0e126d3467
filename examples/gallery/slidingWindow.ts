import { Mask, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

export const slidingWindow = (width: number) =>
  Mask.keepWhere(({ query, key }) => {
    const distance = Tensor.sub(query, key)
    return Tensor.and(Tensor.ge(distance, 0), Tensor.le(distance, width))
  })

export const attention = exhibit({
  about: "A query sees itself and the 4 keys before it. Mistral 7B, Jiang et al. 2023, arXiv 2310.06825",
  mask: () => slidingWindow(4),
  lengths: { T: 16 }
})
