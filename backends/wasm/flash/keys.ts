import { type Expr, f32, i32, lane, op, select } from "../assembler/Instruction.ts"
import type { Frame } from "../emit/Frame.ts"
import { tileColumns } from "../kernels/tile.ts"
import type { Place } from "./Place.ts"
import type { Problem } from "./Problem.ts"
import * as Range from "./range.ts"
import type * as Softmax from "./softmax.ts"

type I = Expr<"i32">

interface Block {
  readonly place: Place
  readonly statistics: Softmax.Statistics
  /** The keys there are, from a multiple of a tile on. */
  readonly from: I
  readonly to: I
  /** Keys of a tile. */
  readonly tile: number
}

/** Emits a tile of keys, given whether all rows certainly see all keys of a whole tile. */
type Emit = (tile: { readonly start: I; readonly count: I }, visible: I) => void

/**
 * The tiles of keys that a block of rows visits. What may be visible comes first. Where masked keys take part with a finite score, the
 * others follow unless every row has a score so far above it that they add nothing.
 */
export const each = (
  frame: Frame,
  problem: Problem,
  regions: Range.Regions,
  { place, statistics, from, to, tile }: Block,
  emit: Emit
): void => {
  const { e } = frame
  const tiles = (first: I, last: I, certain: (start: I) => I): void =>
    e.loop(first, last, tile, (start) => {
      const count = e.min(i32(tile), e.sub(last, start))
      const whole = op("i32.eq", count, i32(tile))
      emit({ start, count }, e.bind(op("i32.and", certain(start), whole)))
    })
  if (problem.node.attrs.mask === undefined) {
    tiles(from, to, () => i32(1))
    return
  }
  const range = Range.visible(frame, problem, regions, place)
  if (range === undefined) {
    tiles(from, to, () => i32(0))
    return
  }
  // Tiles begin with a panel.
  const lo = e.bind(op("i32.and", e.min(e.max(range.lo, from), to), i32(-tileColumns)))
  const certain = (start: I): I =>
    range.full
      .map((full) =>
        op("i32.and", op("i32.ge_s", start, full.lo), op("i32.le_s", e.add(start, i32(tile)), full.hi))
      )
      .reduce((a, b) => op("i32.or", a, b))
  const end = e.min(e.max(range.hi, lo), to)
  if (problem.fill === undefined) {
    tiles(lo, end, certain)
    return
  }
  const hi = e.min(e.bind(op("i32.and", e.add(end, i32(tileColumns - 1)), i32(-tileColumns))), to)
  e.loop(i32(0), i32(3), 1, (part) => {
    const choose = (a: I, b: I, c: I): I => {
      const [isFirst, isSecond] = [op("i32.eqz", part), op("i32.eq", part, i32(1))]
      return e.bind(select(a, select(b, c, isSecond), isFirst))
    }
    const start = choose(lo, from, hi)
    const open = e.variable(i32(1))
    e.branch(part, () => open.set(isOpen(frame, problem, place, statistics)))
    const stop = e.now(select(choose(hi, lo, to), start, open.value))
    tiles(start, stop, certain)
  })
}

/** Whether some row could still gain weight from keys with the score of masked ones: exp(-104) rounds to 0. */
const isOpen = ({ e }: Frame, { fill }: Problem, place: Place, statistics: Softmax.Statistics): I => {
  const limit = f32(Math.fround(fill as number) + 104)
  const open = e.variable(i32(0))
  e.loop(i32(0), place.rowCount, 1, (row) => {
    const max = lane("f32x4.extract_lane", 0, statistics.max(row))
    open.set(op("i32.or", open.value, op("i32.eqz", op("f32.gt", max, limit))))
  })
  return open.value
}
