import { OutOfMemory } from "../../errors.ts"
import { firstAddress } from "../limits.ts"

/** Memory of the kernels, handed out in pieces. */
export interface Heap {
  /** Address of a piece of at least so many bytes, a multiple of 64. Throws `OutOfMemory`, which says for what. */
  readonly allocate: (bytes: number, what: () => string) => number
  readonly release: (address: number) => void
  /** Pieces that are handed out. */
  readonly alive: () => number
  /** Bytes from the start that are or were in use. */
  readonly extent: () => number
}

export interface Growth {
  /** Bytes there are. */
  readonly size: () => number
  /** Makes it at least so many; false where the host refuses. */
  readonly grow: (bytes: number) => boolean
  /** Bytes there can be. */
  readonly limit: number
}

/** Pieces begin at multiples of a cache line, so that no two of them share one. */
const line = 64

/** Kept free past every piece: vectors may read a little more than they use. */
const margin = 64

interface Hole {
  readonly address: number
  readonly bytes: number
}

/** First fit in ascending addresses; neighbours that are free are one. */
export const make = (memory: Growth): Heap => {
  const pieces = new Map<number, number>()
  let holes: ReadonlyArray<Hole> = []
  /** Where memory that was never handed out begins. */
  let fresh = firstAddress

  const allocate = (wanted: number, what: () => string): number => {
    const bytes = Math.ceil((wanted + margin) / line) * line
    const hole = holes.find((h) => h.bytes >= bytes)
    if (hole !== undefined) {
      const rest = { address: hole.address + bytes, bytes: hole.bytes - bytes }
      holes = holes.flatMap((h) => (h !== hole ? [h] : rest.bytes > 0 ? [rest] : []))
      pieces.set(hole.address, bytes)
      return hole.address
    }
    const address = fresh
    const end = address + bytes + line
    if (end > memory.limit || (end > memory.size() && !memory.grow(end))) {
      throw new OutOfMemory({
        message: `${what()} takes ${wanted} bytes; of ${memory.limit} bytes of memory ${fresh} are in use`,
        hint: "use smaller lengths, close scopes of results that are not needed any more, or use a GPU backend",
        bytes: wanted
      })
    }
    fresh = address + bytes
    pieces.set(address, bytes)
    return address
  }

  const release = (address: number): void => {
    const bytes = pieces.get(address)
    if (bytes === undefined) throw new Error(`no piece begins at ${address}`)
    pieces.delete(address)
    const sorted = [...holes, { address, bytes }].sort((a, b) => a.address - b.address)
    const joined: Array<Hole> = []
    for (const h of sorted) {
      const last = joined.at(-1)
      if (last !== undefined && last.address + last.bytes === h.address)
        joined[joined.length - 1] = { address: last.address, bytes: last.bytes + h.bytes }
      else joined.push(h)
    }
    const last = joined.at(-1)
    if (last !== undefined && last.address + last.bytes === fresh) {
      joined.pop()
      fresh = last.address
    }
    holes = joined
  }

  return { allocate, release, alive: () => pieces.size, extent: () => fresh }
}
