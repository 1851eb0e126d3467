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

/** Some keys, one after the other. */
export interface Tile {
  readonly start: I
  readonly count: I
}

/**
 * Emits the work of some rows of a block, from `row` on, on a tile of keys: those that are visible or, where masked keys have a score and `hidden` is 1,
 * the others.
 */
type Emit = (place: Place.Place, row: I, tile: Tile, visible: I, hidden: I | undefined) => void

/**
 * The tiles of keys that a block of rows visits, and each of its rows. What is visible comes first. Where masked keys take part with a finite score, they
 * follow unless every row has a score so far above it that they take none.
 */
export const each = (
  frame: Frame,
  problem: Problem,
  ranges: Range.Ranges,
  { place, statistics, from, to, tile, rows }: Block,
  emit: Emit
): void => {
  const { e } = frame
  const isMasked = problem.node.attrs.mask !== undefined
  const rangeOf = (own: Place.Place): Range.Visible | undefined =>
    isMasked ? Range.visible(frame, problem, ranges, own) : undefined
  const range = rangeOf(place)
  /** Whether all rows certainly see all keys, and these are whole panels. */
  const isVisible = (of: Range.Visible | undefined, { start, count }: Tile): I => {
    const end = e.add(start, count)
    const full = isMasked
      ? (of?.full ?? []).map(({ lo, hi }) =>
          op("i32.and", op("i32.ge_s", start, lo), op("i32.le_s", end, hi))
        )
      : [i32(1)]
    const whole = op("i32.eqz", op("i32.and", count, i32(tileColumns - 1)))
    return full.length === 0
      ? i32(0)
      : e.bind(
          op(
            "i32.and",
            full.reduce((a, b) => op("i32.or", a, b)),
            whole
          )
        )
  }
  const inGroups = (all: Tile, hidden: I | undefined): void => {
    const some = (own: Place.Place, row: I, tile: Tile, seen: Range.Visible | undefined): void => {
      const visible = isVisible(seen, tile)
      const certain = hidden === undefined ? visible : e.bind(select(i32(0), visible, hidden))
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
      e.branch(e.bind(op("i32.gt_s", count, i32(0))), () => some(own, row, { start, count }, seen))
    })
  }
  const tiles = (first: I, last: I, hidden?: I): void =>
    e.loop(first, last, tile, (start) =>
      inGroups({ start, count: e.min(i32(tile), e.sub(last, start)) }, hidden)
    )
  // Tiles begin with a panel.
  const lo = range === undefined ? from : panelOf(e, e.min(e.max(range.lo, from), to))
  const end = range === undefined ? to : e.min(e.max(range.hi, lo), to)
  if (problem.fill === undefined) {
    tiles(lo, end)
    return
  }
  e.loop(i32(0), i32(2), 1, (hidden) => {
    const open = e.variable(i32(1))
    e.branch(hidden, () => open.set(isOpen(frame, problem, place, statistics)))
    const start = e.bind(select(from, lo, hidden))
    const stop = e.now(select(select(to, end, hidden), start, open.value))
    tiles(start, stop, hidden)
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
