/** One memory for what the kernels of a call leave for later ones: where each value lies, once all sizes are numbers. */

/** A value in memory: the first and the last step that need it, both included. */
export interface Life {
  readonly from: number
  readonly to: number
  readonly bytes: number
}

export interface Arena {
  /** Of each value, in bytes. */
  readonly offsets: ReadonlyArray<number>
  readonly bytes: number
}

/** The first and the last of some steps that bind each slot, by its number. */
export const spans = (
  steps: ReadonlyArray<{ readonly buffers: ReadonlyArray<{ readonly _tag: string; readonly index: number }> }>
): ReadonlyMap<number, { readonly from: number; readonly to: number }> => {
  const found = new Map<number, { readonly from: number; readonly to: number }>()
  for (const [at, { buffers }] of steps.entries()) {
    for (const { _tag, index } of buffers)
      if (_tag === "slot") found.set(index, { from: found.get(index)?.from ?? at, to: at })
  }
  return found
}

/** Bytes alive at one step at most: no memory does with less. */
export const leastBytes = (lives: ReadonlyArray<Life>): number => {
  const change = new Map<number, number>()
  for (const { from, to, bytes } of lives) {
    change.set(from, (change.get(from) ?? 0) + bytes)
    change.set(to + 1, (change.get(to + 1) ?? 0) - bytes)
  }
  let [alive, most] = [0, 0]
  for (const step of [...change.keys()].sort((a, b) => a - b)) {
    alive += change.get(step) as number
    most = Math.max(most, alive)
  }
  return most
}

/** Orders that are tried from each beginning before a packing that wastes memory is taken. */
const tries = 64

/** What may choose first: large values, those that live long, or those that come early. */
const beginnings: ReadonlyArray<(a: Life, b: Life) => number> = [
  (a, b) => b.bytes - a.bytes || a.from - b.from,
  (a, b) => b.to - b.from - (a.to - a.from) || b.bytes - a.bytes,
  (a, b) => a.from - b.from || b.bytes - a.bytes
]

/**
 * Gives each value a place that none shares with it while it is alive, none across a multiple of `piece`. To need the least is NP-hard in general
 * (dynamic storage allocation); so while memory is wasted, what ends highest chooses before all others.
 */
export const pack = (lives: ReadonlyArray<Life>, piece = Number.POSITIVE_INFINITY): Arena => {
  const least = leastBytes(lives)
  const at = (i: number): Life => lives[i] as Life
  let best: Arena | undefined
  for (const compare of beginnings) {
    let order = lives.map((_, i) => i).sort((a, b) => compare(at(a), at(b)))
    for (let n = 0; n < tries; n++) {
      const { offsets, bytes } = place(lives, order, piece)
      if (best === undefined || bytes < best.bytes) best = { offsets, bytes }
      if (bytes <= least) return best
      const highest = order.filter((i) => (offsets[i] as number) + at(i).bytes === bytes)
      order = [...highest, ...order.filter((i) => !highest.includes(i))]
    }
  }
  return best as Arena
}

/** Each value in turn takes the lowest place that is free while it is alive. */
const place = (lives: ReadonlyArray<Life>, order: ReadonlyArray<number>, piece: number): Arena => {
  const offsets = new Array<number>(lives.length).fill(0)
  /** By where they begin. */
  const placed: Array<number> = []
  let bytes = 0
  for (const i of order) {
    const life = lives[i] as Life
    let offset = 0
    for (const other of placed) {
      const { from, to, bytes: taken } = lives[other] as Life
      if (to < life.from || life.to < from) continue
      const begin = offsets[other] as number
      offset = within(offset, life.bytes, piece)
      if (offset + life.bytes <= begin) break
      offset = Math.max(offset, begin + taken)
    }
    offset = within(offset, life.bytes, piece)
    offsets[i] = offset
    bytes = Math.max(bytes, offset + life.bytes)
    const next = placed.findIndex((other) => (offsets[other] as number) > offset)
    placed.splice(next < 0 ? placed.length : next, 0, i)
  }
  return { offsets, bytes }
}

/** The next offset at which so many bytes do not cross from one piece into another. */
const within = (offset: number, bytes: number, piece: number): number => {
  const end = (Math.floor(offset / piece) + 1) * piece
  return offset + bytes <= end ? offset : end
}
