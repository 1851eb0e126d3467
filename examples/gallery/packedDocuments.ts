import { Mask, spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** `start` is where the document of each position begins: one interval of keys for each query. */
export const packedDocuments = (start: Tensor.Tensor<"i32">) =>
  Mask.keepWhere(({ query, key }) =>
    Tensor.and(Tensor.ge(key, Tensor.take(start, query, 0)), Tensor.le(key, query))
  )

export const attention = exhibit({
  about: "Packed causal documents as one interval for each query. attention-gym, packed causal document mask",
  inputs: { start: spec("i32", ["T"]) },
  mask: ({ start }) => packedDocuments(start),
  lengths: { T: 16 },
  data: { start: Array.from({ length: 16 }, (_, i) => (i < 5 ? 0 : i < 8 ? 5 : 8)) }
})
