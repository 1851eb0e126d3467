import { Mask, spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** `documentOf` names the document of each position, `prefixOf` the document that each document continues. */
export const sharedPrefix = (documentOf: Tensor.Tensor<"i32">, prefixOf: Tensor.Tensor<"i32">) =>
  Mask.keepWhere(({ query, key }) => {
    const [own, other] = [Tensor.take(documentOf, query, 0), Tensor.take(documentOf, key, 0)]
    const before = Tensor.and(Tensor.eq(own, other), Tensor.le(key, query))
    return Tensor.or(before, Tensor.eq(Tensor.take(prefixOf, own, 0), other))
  })

const documentOf = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4]

export const attention = exhibit({
  about:
    "Continuations see themselves and the prefix that they share; -1 continues nothing. attention-gym, shared_prefix",
  inputs: { documentOf: spec("i32", ["T"]), prefixOf: spec("i32", ["N"]) },
  mask: (inputs) => sharedPrefix(inputs.documentOf, inputs.prefixOf),
  lengths: { T: 16, N: 5 },
  data: { documentOf, prefixOf: [-1, 0, 0, -1, 3] }
})
