import { Mask, spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** Drafted tokens see the text before them, and their ancestors in the tree: `ancestor` [T, T] is the tree. */
export const draftTree = (prefix: string, ancestor: Tensor.Tensor<"bool">) =>
  Mask.keepWhere(({ key }) => {
    const drafted = Tensor.sub(key, Tensor.dim(prefix))
    return Tensor.or(Tensor.lt(drafted, 0), Tensor.take(ancestor, drafted, 1))
  })

const parents = [0, 0, 0, 1, 1, 2, 3, 3, 5, 8]
const sees = (i: number, j: number): boolean => i === j || (i > 0 && sees(parents[i] as number, j))

export const attention = exhibit({
  about: "Many continuations checked at once, as a tree. SpecInfer, Miao et al. 2024, arXiv 2305.09781",
  inputs: { ancestor: spec("bool", ["T", "T"]) },
  mask: ({ ancestor }) => draftTree("P", ancestor),
  keys: "P + T",
  lengths: { P: 6, T: 10 },
  data: { ancestor: parents.flatMap((_, i) => parents.map((_, j) => (sees(i, j) ? 1 : 0))) }
})
