import { Mask, spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** Each tile of `size` queries sees the tiles of keys that were chosen for it: `chosen` [B, H, tiles, n] holds their numbers. */
export const chosenTiles = (chosen: Tensor.Tensor<"i32">, size: number) =>
  Mask.keepWhere(({ query, key }) => {
    const own = Tensor.take(chosen, Tensor.floorDiv(query, Tensor.dim(size)), 2)
    const among = Tensor.split(own, own.shape.at(-1) as number, -1).map((one) =>
      Tensor.eq(Tensor.squeeze(one, -1), Tensor.floorDiv(key, size))
    )
    return among.reduce((a, b) => Tensor.or(a, b))
  })

export const attention = exhibit({
  about:
    "The best tiles of a coarse attention, chosen for each tile of queries. VSA, Zhang et al. 2025, arXiv 2505.13389",
  inputs: { chosen: spec("i32", ["B", 2, "N", 2]) },
  mask: ({ chosen }) => chosenTiles(chosen, 4),
  queries: "4*N",
  lengths: { N: 5 },
  data: { chosen: [0, 1, 1, 4, 0, 2, 2, 3, 1, 4, 4, 3, 2, 1, 3, 0, 0, 3, 1, 2] }
})
