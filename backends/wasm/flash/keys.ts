import { type Expr, i32, lane, op, select } from "../assembler/Instruction.ts"
import type { Emitter } from "../emit/Emitter.ts"
import type { Frame } from "../emit/Frame.ts"
import { tileColumns } from "../kernels/tile.ts"
import { visibleFrom } from "./hidden.ts"
import * as Place from "./Place.ts"
import type { Problem } from "./Problem.ts"
import * as Range from "./range.ts"
import type * as Softmax from "./softmax.ts"

type I = Expr<"i32">

interface Block {
  readonly place: Place.Place
  readonly statistics: Softmax.Statistics
  /** The keys there are, from a multiple of a tile on. */
  readonly from: I
  readonly to: I
  /** Keys of a tile. */
  readonly tile: number
  /** Rows that look at keys together, and at no more than they may see; all of the block where absent. */
  readonly rows?: number
}

/** Some keys, one after the other, from the beginning of a panel on. */
export interface Tile {
  readonly start: I
  readonly count: I
  /** How many of the first no row sees, so that they have no weight: less than a panel. */
  readonly unseen: I
}

/**
 * Emits the work of some rows of a block, from `row` on, on a tile of keys: those that are visible or, where masked keys have a score and `hidden` is 1,
 * the others.
 */
export type Emit = (
  place: Place.Place,
  row: I,
  tile: Tile,
  certain: Softmax.Run,
  hidden: I | undefined
) => void

/**
 * The tiles of keys that a block of rows visits, and each of its rows. What is visible comes first. Where masked keys take part with a finite score, they
 * follow unless every row has a score so far above it that they take none. `after` is emitted behind each turn.
 */
export const each = (
  frame: Frame,
  problem: Problem,
  ranges: Range.Ranges,
  { place, statistics, from, to, tile, rows }: Block,
  emit: Emit,
  after: (turn: I) => void
): void => {
  const { e } = frame
  const isMasked = problem.node.attrs.mask !== undefined
  const rangeOf = (own: Place.Place): Range.Visible | undefined =>
    isMasked ? Range.visible(frame, problem, ranges, own) : undefined
  const range = rangeOf(place)
  /** Keys of a tile that all rows certainly see, in whole panels: the longest run of those that are known. */
  const certainOf = (of: Range.Visible | undefined, { start, count }: Tile): Softmax.Run => {
    const end = e.add(start, count)
    const runs = (isMasked ? (of?.full ?? []) : [{ lo: start, hi: end }]).map((full) => {
      const lo = e.min(e.max(panelOf(e, e.add(full.lo, i32(tileColumns - 1))), start), end)
      return { lo, hi: e.max(panelOf(e, e.min(full.hi, end)), lo) }
    })
    const [first, ...others] = runs
    return others.reduce<Softmax.Run>((a, b) => {
      const isLonger = e.bind(op("i32.gt_s", e.sub(b.hi, b.lo), e.sub(a.hi, a.lo)))
      return { lo: e.bind(select(b.lo, a.lo, isLonger)), hi: e.bind(select(b.hi, a.hi, isLonger)) }
    }, first ?? { lo: start, hi: start })
  }
  const inGroups = (all: Tile, hidden: I | undefined): void => {
    const some = (own: Place.Place, row: I, tile: Tile, seen: Range.Visible | undefined): void => {
      const { lo, hi } = certainOf(seen, tile)
      const certain = { lo, hi: hidden === undefined ? hi : e.bind(select(lo, hi, hidden)) }
      emit(own, row, tile, certain, hidden)
    }
    if (rows === undefined) {
      some(place, i32(0), all, range)
      return
    }
    e.loop(i32(0), place.rowCount, rows, (row) => {
      const own = Place.from(e, problem, place, row, e.min(i32(rows), e.sub(place.rowCount, row)))
      const seen = range && rangeOf(own)
      if (seen === undefined) {
        some(own, row, all, seen)
        return
      }
      const ofAll = (whole: I, part: I): I =>
        hidden === undefined ? part : e.bind(select(whole, part, hidden))
      const stop = e.add(all.start, all.count)
      const start = ofAll(all.start, e.max(all.start, panelOf(e, seen.lo)))
      const count = e.sub(ofAll(stop, e.min(stop, seen.hi)), start)
      const unseen = ofAll(i32(0), e.min(e.max(e.sub(seen.lo, start), i32(0)), count))
      e.branch(e.bind(op("i32.gt_s", count, i32(0))), () => some(own, row, { start, count, unseen }, seen))
    })
  }
  const tiles = (first: I, last: I, hidden?: I): void =>
    e.loop(first, last, tile, (start) =>
      inGroups({ start, count: e.min(i32(tile), e.sub(last, start)), unseen: i32(0) }, hidden)
    )
  // Tiles begin with a panel.
  const lo = range === undefined ? from : panelOf(e, e.min(e.max(range.lo, from), to))
  const end = range === undefined ? to : e.min(e.max(range.hi, lo), to)
  if (problem.fill === undefined) {
    tiles(lo, end)
    after(i32(0))
    return
  }
  e.loop(i32(0), i32(2), 1, (hidden) => {
    const open = e.variable(i32(1))
    e.branch(hidden, () => open.set(isOpen(frame, problem, place, statistics)))
    const start = e.bind(select(from, lo, hidden))
    const stop = e.now(select(select(to, end, hidden), start, open.value))
    tiles(start, stop, hidden)
    after(hidden)
  })
}

/** The first key of the panel that a key lies in. */
const panelOf = (e: Emitter, key: I): I => e.bind(op("i32.and", key, i32(-tileColumns)))

/** Whether masked keys take part in some row. */
const isOpen = ({ e }: Frame, problem: Problem, place: Place.Place, statistics: Softmax.Statistics): I => {
  const open = e.variable(i32(0))
  e.loop(i32(0), place.rowCount, 1, (row) => {
    const isClosed = lane("i32x4.extract_lane", 0, visibleFrom(problem, statistics.max(row)))
    open.set(op("i32.or", open.value, op("i32.eqz", isClosed)))
  })
  return open.value
}
