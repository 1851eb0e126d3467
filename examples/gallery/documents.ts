import { Mask, spec, Tensor } from "../../src/index.ts"
import { causal } from "./causal.ts"
import { exhibit } from "./exhibit.ts"

/** Any mask within each of the documents that start at `starts` [N]; positions count from the start of their document. */
export const documents = (base: Mask.Keep, starts: Tensor.Tensor<"i32">, length: string) => {
  const begun = Tensor.le(Tensor.expandDims(starts, 0), Tensor.expandDims(Tensor.iota(length), 1))
  const documentOf = Tensor.sub(Tensor.sum(begun, -1), 1)
  const within = Mask.reindex(base, (p) =>
    Tensor.sub(p, Tensor.take(starts, Tensor.take(documentOf, p, 0), 0))
  )
  return Mask.and(Mask.document(documentOf), within)
}

export const attention = exhibit({
  about:
    "Documents packed into one sequence, each with a causal mask of its own. attention-gym, document_mask",
  inputs: { starts: spec("i32", ["N"]) },
  mask: ({ starts }) => documents(causal, starts, "T"),
  lengths: { T: 16, N: 3 },
  data: { starts: [0, 5, 8] }
})
