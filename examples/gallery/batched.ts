import { Mask, Tensor } from "../../src/index.ts"
import { causal } from "./causal.ts"
import { exhibit } from "./exhibit.ts"

/** A batch laid end to end: any mask within each run of `length` positions. */
export const batched = (base: Mask.Keep, length: number) =>
  Mask.and(
    Mask.chunked(length),
    Mask.reindex(base, (p) => Tensor.mod(p, Tensor.dim(length)))
  )

export const attention = exhibit({
  about: "A batch of sequences of 5 as one sequence. attention-gym, batchify",
  mask: () => batched(causal, 5),
  lengths: { T: 15 }
})
