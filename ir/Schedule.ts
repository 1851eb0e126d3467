import type { Node } from "./Node.ts"

/**
 * How a kernel is cut into workgroups and tiles. A schedule is chosen from limits and shapes and never changes a result beyond
 * float reassociation; every legal schedule is tested equal.
 */
export type Schedule = Elementwise | Rows | Matmul | Flash

/** What numbers stored as f16 are multiplied in. Sums, the softmax and all that is kept are float32 either way. */
export const arithmetics = ["f32", "f16"] as const

export type Arithmetic = (typeof arithmetics)[number]

/** One thread for each result element (or pair of 16-bit elements). */
export interface Elementwise {
  readonly kind: "elementwise"
  /** Threads of a workgroup. */
  readonly threads: number
}

/** One workgroup, or one thread where `threads` is 1, for each row that is reduced or normalised. */
export interface Rows {
  readonly kind: "rows"
  readonly threads: number
}

/** A workgroup computes rows × columns of the result, depth elements of the contraction at a time. */
export interface MatmulTile {
  readonly rows: number
  readonly columns: number
  readonly depth: number
  /** Result elements of one thread. */
  readonly threadRows: number
  readonly threadColumns: number
  /** The four threads of a workgroup are a quad and compute the same rows: each reads a fourth of them and hands it to the others. */
  readonly quads: boolean
  /** For results of few tiles: parts of the depth are summed by workgroups of their own, and added up by a second kernel. */
  readonly split: MatmulSplit | undefined
  /** Of tiles in workgroup memory over operands stored as f16: tiles stay f16, and so do their products. In float32 where it is absent. */
  readonly arithmetic?: "f16"
}

/** Calls with few rows run variants of their own, which are compiled beside the others where rows are not known before. */
export interface Matmul extends MatmulTile {
  readonly kind: "matmul"
  /** Calls of at most `rows`, one after the other: `share` threads add up one sum, of `columns` results, in workgroups of `threads`. */
  readonly vector: {
    readonly rows: number
    readonly threads: number
    readonly share: number
    readonly columns: number
  }
  /** Calls of more rows than these and of at most `rows` take smaller tiles. */
  readonly few: { readonly rows: number; readonly tile: MatmulTile } | undefined
}

export interface MatmulSplit {
  /** Calls of at most so many rows are split. */
  readonly rows: number
  /** The longest part, until there are `most` of them: what is no deeper is not split. */
  readonly depth: number
  readonly most: number
}

/** Which variant runs depends on the lengths of a call; none is made for a length. */
export interface Flash {
  readonly kind: "flash"
  readonly prefill: FlashPrefill
  readonly decode: FlashDecode
  /** Calls whose packed rows (queries times group) are at most this many run the decode variant. */
  readonly decodeRows: number
  /** Tiles for calls of more rows, up to its `rows`: a workgroup has them all, and keys are split as for decode. */
  readonly short?: FlashPrefill
}

/**
 * Where a kernel of attention keeps a tile. "workgroup" is for GPUs: threads share rows and keys through workgroup memory. "registers" is
 * for software devices, where memory and barriers are slow and a loop that is written out is fast: each thread owns whole rows, and shares nothing.
 */
export type FlashTiles = "workgroup" | "registers"

/**
 * A workgroup owns `rows` packed query rows (row = query * group + head in group) of one key/value head and loops
 * over tiles of `keys` keys.
 */
export interface FlashPrefill {
  readonly rows: number
  readonly keys: number
  readonly threads: number
  readonly tiles: FlashTiles
  /** Of tiles in registers: whether four neighbouring threads each load a quarter of K and V and pass it on, which takes subgroups of four. */
  readonly quads: boolean
  /** Of tiles in workgroup memory over operands stored as f16: tiles stay f16, and so do their products. In float32 where it is absent. */
  readonly arithmetic?: "f16"
}

/**
 * Keys are split over workgroups, with tiles in registers over threads that share none. Partial results are combined by a second kernel where there is more than
 * one split.
 */
export interface FlashDecode {
  readonly threads: number
  readonly tiles: FlashTiles
  /**
   * Of tiles in workgroup memory: whether a workgroup is one subgroup, which adds up and compares without a barrier. Only where no subgroup of the device
   * is smaller.
   */
  readonly subgroup?: true
  /**
   * Of tiles in registers: whether calls of several rows have the four threads of a workgroup share a split of four times as many keys, each with a
   * quarter of every vector, which takes subgroups of four. It compiles in a third of the time, and is as fast from three rows on.
   */
  readonly quads?: true
  /** Fewest keys worth a split. */
  readonly keysPerSplit: number
  readonly maxSplits: number
}

/** Schedules of the nodes of a graph that become kernels. */
export type Schedules = ReadonlyMap<Node, Schedule>
