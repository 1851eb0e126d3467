import { Mask, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** Noised tokens, then the same tokens clean: `length` of each, in blocks of `size`. */
export const blockDiffusion = (length: string, size: number) =>
  Mask.keepWhere(({ query, key }) => {
    const n = Tensor.dim(length)
    const clean = (p: typeof query) => Tensor.ge(p, n)
    const block = (p: typeof query) => Tensor.floorDiv(Tensor.where(clean(p), Tensor.sub(p, n), p), size)
    const [own, other] = [block(query), block(key)]
    const diagonal = Tensor.and(Tensor.eq(own, other), Tensor.eq(clean(query), clean(key)))
    const earlier = Tensor.and(Tensor.gt(own, other), Tensor.and(clean(key), Tensor.not(clean(query))))
    const causal = Tensor.and(Tensor.ge(own, other), Tensor.and(clean(key), clean(query)))
    return Tensor.or(diagonal, Tensor.or(earlier, causal))
  })

export const attention = exhibit({
  about:
    "A noised block sees itself and the clean blocks before it. BD3-LM, Arriola et al. 2025, arXiv 2503.09573",
  mask: () => blockDiffusion("N", 2),
  queries: "2*N",
  lengths: { N: 8 }
})
