import { Mask, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

export const dilatedWindow = (width: number, step: number) =>
  Mask.keepWhere(({ query, key }) => {
    const distance = Tensor.abs(Tensor.sub(query, key))
    return Tensor.and(Tensor.le(distance, width), Tensor.eq(Tensor.mod(distance, step), 0))
  })

export const attention = exhibit({
  about: "Every second key up to 6 away, to both sides. LongNet, Ding et al. 2023, arXiv 2307.02486",
  mask: () => dilatedWindow(6, 2),
  lengths: { T: 16 }
})
