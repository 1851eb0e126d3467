/**
 * Which sequence has which pages of a pool, as data. A page that is full is known by the text up to its end: a sequence that begins with the same
 * text takes the page as it is, also after the one that wrote it has left, until the page is needed for something else.
 */
export interface PagePool {
  /** Rows of a page. */
  readonly rows: number
  /** Sequences that have each page. */
  readonly users: ReadonlyArray<number>
  /** Pages that nobody has, the one to be taken next first. */
  readonly free: ReadonlyArray<number>
  /** Full pages by their text. */
  readonly known: ReadonlyMap<string, number>
}

export const make = (pages: number, rows: number): PagePool => ({
  rows,
  users: Array.from({ length: pages }, () => 0),
  free: Array.from({ length: pages }, (_, n) => n),
  known: new Map()
})

export const pagesOf = (rows: number, positions: number): number => Math.ceil(positions / rows)

/** The text of so many pages. */
const textOf = ({ rows }: PagePool, words: ReadonlyArray<number>, pages: number): string =>
  words.slice(0, pages * rows).join(" ")

export interface Joined {
  readonly pool: PagePool
  readonly pages: ReadonlyArray<number>
  /** Positions whose keys are there already. */
  readonly shared: number
}

/** Pages for a sequence of `positions` that begins with these words; undefined where there are not enough. Its last word is never shared: it is to be read. */
export const join = (pool: PagePool, words: ReadonlyArray<number>, positions: number): Joined | undefined => {
  const shared: Array<number> = []
  while ((shared.length + 1) * pool.rows < words.length) {
    const page = pool.known.get(textOf(pool, words, shared.length + 1))
    if (page === undefined) break
    shared.push(page)
  }
  const fresh = pagesOf(pool.rows, positions) - shared.length
  const others = pool.free.filter((page) => !shared.includes(page))
  if (others.length < fresh) return undefined
  const own = others.slice(0, fresh)
  const taken = [...shared, ...own]
  return {
    pool: {
      ...pool,
      users: pool.users.map((count, page) => (taken.includes(page) ? count + 1 : count)),
      free: others.slice(fresh),
      known: new Map([...pool.known].filter(([, page]) => !own.includes(page)))
    },
    pages: taken,
    shared: shared.length * pool.rows
  }
}

/** The pool when the first positions of a sequence have been written. */
export const written = (
  pool: PagePool,
  pages: ReadonlyArray<number>,
  words: ReadonlyArray<number>,
  positions: number
): PagePool => {
  const known = new Map(pool.known)
  for (let n = 0; (n + 1) * pool.rows <= positions; n++) {
    const text = textOf(pool, words, n + 1)
    if (!known.has(text)) known.set(text, pages[n] as number)
  }
  return { ...pool, known }
}

/** The pool without a sequence. Pages whose text is known are the last to be taken, beginnings of texts after what follows them. */
export const leave = (pool: PagePool, pages: ReadonlyArray<number>): PagePool => {
  const users = pool.users.map((count, page) => (pages.includes(page) ? count - 1 : count))
  const left = pages.filter((page) => users[page] === 0)
  const named = new Set(pool.known.values())
  const [blank, full] = [left.filter((p) => !named.has(p)), left.filter((p) => named.has(p))]
  return { ...pool, users, free: [...blank, ...pool.free, ...full.toReversed()] }
}

/** Pages that some sequence has. */
export const used = ({ users }: PagePool): number => users.filter((count) => count > 0).length
