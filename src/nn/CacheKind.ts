import { AttrError } from "../errors.ts"
import type { Kept, LanguageModel } from "./LanguageModel.ts"
import * as PagePool from "./PagePool.ts"
import { whole } from "./whole.ts"

/**
 * Where `generate` keeps keys and values. `static`: as many positions for each sequence, twice as many when they are full. `ring`: of layers with a
 * window no more than the window, of others as `static`. `pages`: a pool that sequences take pages from, and share those that begin alike.
 */
export type CacheKind =
  | {
      readonly kind: "static"
      /** Positions to start with; as many as are needed unless told otherwise. */
      readonly capacity?: number | undefined
    }
  | { readonly kind: "ring" }
  | {
      readonly kind: "pages"
      /** Positions of a page; 16 unless told otherwise. */
      readonly rows?: number | undefined
      /** Pages of the pool; as many as all sequences that run at once may need unless told otherwise. */
      readonly pages?: number | undefined
    }

/** How the cache of a layer lies: sizes by name are B sequences, C positions, P pages. */
export interface Lying {
  readonly shape: ReadonlyArray<number | string>
  readonly ring: boolean
}

const defaultRows = 16

export const rowsOf = (kind: CacheKind): number => (kind.kind === "pages" ? (kind.rows ?? defaultRows) : 0)

/** `call` is the greatest number of words that a call brings. */
export const lying = (kind: CacheKind, { heads, size, window }: Kept, call: number): Lying => {
  if (kind.kind === "pages") return { shape: ["P", rowsOf(kind), heads, size], ring: false }
  const ring = kind.kind === "ring" && window !== undefined
  return { shape: ["B", heads, ring ? window + call : "C", size], ring }
}

/** Throws `AttrError` where a cache of this kind cannot hold what is asked for. */
export const check = (
  kind: CacheKind,
  { kept }: LanguageModel,
  prompts: ReadonlyArray<ReadonlyArray<number>>,
  maxTokens: number
): void => {
  switch (kind.kind) {
    case "static":
      whole("generate", { capacity: kind.capacity })
      return
    case "ring":
      if (kept.some(({ window }) => window !== undefined)) return
      throw new AttrError({
        op: "generate",
        message: "no layer of the model has a window that a ring could hold",
        hint: 'use { kind: "static" } or { kind: "pages" }'
      })
    case "pages": {
      const rows = rowsOf(kind)
      whole("generate", { rows, pages: kind.pages })
      prompts.forEach((prompt, n) => {
        const needed = PagePool.pagesOf(rows, prompt.length + maxTokens - 1)
        if (kind.pages === undefined || needed <= kind.pages) return
        throw new AttrError({
          op: "generate",
          message: `prompt ${n} of ${prompt.length} words and ${maxTokens} more need ${needed} pages of ${rows}, the pool has ${kind.pages}`,
          hint: `use a pool of ${needed} pages or more, or fewer maxTokens`
        })
      })
      return
    }
    default:
      throw new AttrError({
        op: "generate",
        message: `there is no cache of kind ${JSON.stringify((kind as { readonly kind: unknown }).kind)}`,
        hint: "static, ring or pages"
      })
  }
}
