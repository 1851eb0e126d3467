import { spec } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"
import { slidingTile } from "./slidingTile.ts"

export const attention = exhibit({
  about:
    "The same in a video: 3 frames of 4×4 in tiles of 1×2×2, a window of 3×1×1 tiles, and 2 tokens of text. STA, arXiv 2502.04507",
  inputs: { text: spec("i32", []) },
  mask: ({ text }) => slidingTile([3, 2, 2], [1, 2, 2], [3, 1, 1], text),
  lengths: { T: 50 },
  data: { text: [2] }
})
