import { Mask, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

export interface Video {
  readonly frames: number
  readonly tokensPerFrame: number
  /** Tokens of the prompt, which follow the video. */
  readonly prompt: number
}

/** All see the prompt, and the prompt sees all. */
export const prompted = ({ frames, tokensPerFrame, prompt }: Video) => {
  const video = frames * tokensPerFrame
  return Mask.keepWhere(({ query, key }) => {
    const at = Tensor.maximum(query, key)
    return Tensor.and(Tensor.ge(at, video), Tensor.lt(at, video + prompt))
  })
}

/** Frames see what is less than `band` tokens away, and, as a sink, the first frame. */
export const videoSpatial = (video: Video, band: number) => {
  const near = Mask.keepWhere(({ query, key }) => Tensor.lt(Tensor.abs(Tensor.sub(query, key)), band))
  return Mask.or(prompted(video), Mask.or(near, Mask.prefix(video.tokensPerFrame)))
}

export const attention = exhibit({
  about:
    "A head that looks at its own frame and those beside it. Sparse VideoGen, Xi et al. 2025, arXiv 2502.01776",
  mask: () => videoSpatial({ frames: 5, tokensPerFrame: 4, prompt: 3 }, 6),
  lengths: { T: 23 }
})
