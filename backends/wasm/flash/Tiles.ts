/** How attention is cut. Nothing in a result depends on it but the order of sums. */
export interface Tiles {
  /** Queries of an item, a multiple of a tile's rows: calls of at most so many read keys where they lie. */
  readonly rows: number
  /** Keys that are looked at together, a multiple of a panel's. */
  readonly keys: number
  /** Keys of an item where there are few queries, a multiple of those looked at together then. */
  readonly split: number
}

/** Scores, values and the tile of keys lie in the first two caches. */
export const standard: Tiles = { rows: 36, keys: 96, split: 256 }

/** Keys that few queries look at together: they lie in a part of the first cache with their values, and make whole pages. */
export const mostOfFew = 32
