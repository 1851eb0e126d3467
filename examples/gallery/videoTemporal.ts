import { Mask, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"
import { prompted, type Video } from "./videoSpatial.ts"

/** Tokens see those less than `width` away from their own place in every frame. */
export const videoTemporal = (video: Video, width: number) => {
  const same = Mask.keepWhere(({ query, key }) => {
    const place = (p: typeof query) => Tensor.mod(p, video.tokensPerFrame)
    return Tensor.lt(Tensor.abs(Tensor.sub(place(query), place(key))), width)
  })
  return Mask.or(prompted(video), same)
}

export const attention = exhibit({
  about:
    "A head that looks at one place through all frames. Sparse VideoGen, Xi et al. 2025, arXiv 2502.01776",
  mask: () => videoTemporal({ frames: 5, tokensPerFrame: 4, prompt: 3 }, 1),
  lengths: { T: 23 }
})
