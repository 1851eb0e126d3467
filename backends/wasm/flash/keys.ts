import { type Expr, f32, i32, lane, op, select } from "../assembler/Instruction.ts"
import type { Emitter } from "../emit/Emitter.ts"
import type { Frame } from "../emit/Frame.ts"
import { tileColumns } from "../kernels/tile.ts"
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

/** Emits the work of some rows of a block, from `row` on, on a tile of keys. */
type Emit = (place: Place.Place, row: I, tile: Tile, certain: Softmax.Run) => void

/**
 * The tiles of keys that a block of rows visits, and each of its rows. What may be visible comes first. Where masked keys take part with a finite score, the
 * others follow unless every row has a score so far above it that they add nothing.
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
  const inGroups = (all: Tile): void => {
    if (rows === undefined) {
      emit(place, i32(0), all, certainOf(range, all))
      return
    }
    e.loop(i32(0), place.rowCount, rows, (row) => {
      const own = Place.from(e, problem, place, row, e.min(i32(rows), e.sub(place.rowCount, row)))
      const seen = range && rangeOf(own)
      if (seen === undefined || problem.fill !== undefined) {
        emit(own, row, all, certainOf(seen, all))
        return
      }
      const start = e.max(all.start, panelOf(e, seen.lo))
      const count = e.sub(e.min(e.add(all.start, all.count), seen.hi), start)
      const some = { start, count, unseen: e.min(e.max(e.sub(seen.lo, start), i32(0)), count) }
      e.branch(e.bind(op("i32.gt_s", count, i32(0))), () => emit(own, row, some, certainOf(seen, some)))
    })
  }
  const tiles = (first: I, last: I): void =>
    e.loop(first, last, tile, (start) =>
      inGroups({ start, count: e.min(i32(tile), e.sub(last, start)), unseen: i32(0) })
    )
  if (range === undefined) {
    tiles(from, to)
    return
  }
  // Tiles begin with a panel.
  const lo = panelOf(e, e.min(e.max(range.lo, from), to))
  const end = e.min(e.max(range.hi, lo), to)
  if (problem.fill === undefined) {
    tiles(lo, end)
    return
  }
  const hi = e.min(panelOf(e, e.add(end, i32(tileColumns - 1))), to)
  e.loop(i32(0), i32(3), 1, (part) => {
    const choose = (a: I, b: I, c: I): I => {
      const [isFirst, isSecond] = [op("i32.eqz", part), op("i32.eq", part, i32(1))]
      return e.bind(select(a, select(b, c, isSecond), isFirst))
    }
    const start = choose(lo, from, hi)
    const open = e.variable(i32(1))
    e.branch(part, () => open.set(isOpen(frame, problem, place, statistics)))
    const stop = e.now(select(choose(hi, lo, to), start, open.value))
    tiles(start, stop)
  })
}

/** The first key of the panel that a key lies in. */
const panelOf = (e: Emitter, key: I): I => e.bind(op("i32.and", key, i32(-tileColumns)))

/** Whether some row could still gain weight from keys with the score of masked ones: exp(-104) rounds to 0. */
const isOpen = ({ e }: Frame, { fill }: Problem, place: Place.Place, statistics: Softmax.Statistics): I => {
  const limit = f32(Math.fround(fill as number) + 104)
  const open = e.variable(i32(0))
  e.loop(i32(0), place.rowCount, 1, (row) => {
    const max = lane("f32x4.extract_lane", 0, statistics.max(row))
    open.set(op("i32.or", open.value, op("i32.eqz", op("f32.gt", max, limit))))
  })
  return open.value
}
