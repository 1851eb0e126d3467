import { Mask, spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"
import { neighborhood } from "./neighborhood.ts"

/**
 * A canvas stored tile by tile, then text: tiles see a window of tiles and the text, text sees all. `text` is how many tokens of text
 * there are; what follows is padding.
 */
export const slidingTile = (
  tiles: ReadonlyArray<number>,
  tile: ReadonlyArray<number>,
  window: ReadonlyArray<number>,
  text: Tensor.Tensor<"i32">
) => {
  const volume = tile.reduce((a, b) => a * b)
  const canvas = tiles.reduce((a, b) => a * b, volume)
  const near = Mask.reindex(neighborhood(tiles, window), (p) => Tensor.floorDiv(p, Tensor.dim(volume)))
  const pictured = Mask.keepWhere(({ query, key }) => Tensor.lt(Tensor.maximum(query, key), canvas))
  const written = Mask.keepWhere(({ query, key }) => Tensor.ge(Tensor.maximum(query, key), canvas))
  const present = Mask.keepWhere(({ key }) => Tensor.lt(key, Tensor.add(text, canvas)))
  return Mask.or(Mask.and(pictured, near), Mask.and(written, present))
}

export const attention = exhibit({
  about:
    "A window of 3×1 tiles of 2×2 in a picture of 8×4, and 3 tokens of text. STA, Zhang et al. 2025, arXiv 2502.04507",
  inputs: { text: spec("i32", []) },
  mask: ({ text }) => slidingTile([4, 2], [2, 2], [3, 1], text),
  lengths: { T: 36 },
  data: { text: [3] }
})
