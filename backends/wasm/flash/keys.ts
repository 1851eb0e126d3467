import * as Dim from "../../../ir/Dim.ts"
import { type Expr, f32, i32, lane, op, select } from "../assembler/Instruction.ts"
import type { Emitter } from "../emit/Emitter.ts"
import type { Frame } from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import { tileColumns } from "../kernels/tile.ts"
import type { Problem } from "./Problem.ts"
import type * as Regions from "./regions.ts"
import type * as Softmax from "./softmax.ts"

type I = Expr<"i32">

interface Block {
  readonly place: Softmax.Place
  readonly statistics: Softmax.Statistics
  /** Number of keys there are, and of those in a tile. */
  readonly keys: I
  readonly block: number
}

/** Emits a tile of keys: the first, how many, and whether all rows certainly see all keys of a whole tile. */
type Tile = (start: I, count: I, visible: I) => void

/**
 * The tiles of keys that a block of rows visits. What may be visible comes first. Where masked keys take part with a finite score, the
 * others follow unless every row has a score so far above it that they add nothing.
 */
export const each = (
  frame: Frame,
  problem: Problem,
  region: Regions.Region | undefined,
  { place, statistics, keys, block }: Block,
  tile: Tile
): void => {
  const { e } = frame
  const tiles = (from: I, to: I, certain: (start: I) => I): void =>
    e.loop(from, to, block, (start) => {
      const count = e.min(i32(block), e.sub(to, start))
      const whole = op("i32.eq", count, i32(block))
      tile(start, count, e.bind(op("i32.and", certain(start), whole)))
    })
  if (problem.node.attrs.mask === undefined) {
    tiles(i32(0), keys, () => i32(1))
    return
  }
  if (region === undefined) {
    tiles(i32(0), keys, () => i32(0))
    return
  }
  const range = overHeads(e, problem, region, place)
  // Tiles begin with a panel.
  const lo = e.bind(op("i32.and", e.min(e.max(range.lo, i32(0)), keys), i32(-tileColumns)))
  const certain = (start: I): I =>
    op("i32.and", op("i32.ge_s", start, range.fullLo), op("i32.le_s", e.add(start, i32(block)), range.fullHi))
  const end = e.min(e.max(range.hi, lo), keys)
  if (problem.fill === undefined) {
    tiles(lo, end, certain)
    return
  }
  const hi = e.min(e.bind(op("i32.and", e.add(end, i32(tileColumns - 1)), i32(-tileColumns))), keys)
  e.loop(i32(0), i32(3), 1, (part) => {
    const choose = (a: I, b: I, c: I): I => {
      const [isFirst, isSecond] = [op("i32.eqz", part), op("i32.eq", part, i32(1))]
      return e.bind(select(a, select(b, c, isSecond), isFirst))
    }
    const from = choose(lo, i32(0), hi)
    const open = e.variable(i32(1))
    e.branch(part, () => open.set(isOpen(frame, problem, place, statistics)))
    const to = e.now(select(choose(hi, lo, keys), from, open.value))
    tiles(from, to, certain)
  })
}

/** Whether some row could still gain weight from keys with the score of masked ones: exp(-104) rounds to 0. */
const isOpen = ({ e }: Frame, { fill }: Problem, place: Softmax.Place, statistics: Softmax.Statistics): I => {
  const limit = f32(Math.fround(fill as number) + 104)
  const open = e.variable(i32(0))
  e.loop(i32(0), place.rowCount, 1, (row) => {
    const max = lane("f32x4.extract_lane", 0, statistics.max(row))
    open.set(op("i32.or", open.value, op("i32.eqz", op("f32.gt", max, limit))))
  })
  return open.value
}

/** The range of the queries of the block; where it depends on the head, over all heads of the group. */
const overHeads = (
  e: Emitter,
  { node, group }: Problem,
  region: Regions.Region,
  { b, firstHead, rowCount, queryOf }: Softmax.Place
): { readonly lo: I; readonly hi: I; readonly fullLo: I; readonly fullHi: I } => {
  const [first, last] = [queryOf(i32(0)), queryOf(e.sub(rowCount, i32(1)))]
  const of = (head: Value.Affine): ReadonlyArray<I> =>
    region(b, head, first, last).map((x) => Value.first(e, x))
  const readsHead =
    node.attrs.range?.nodes.some((n) => n.operands.some((o) => o === node.attrs.range?.inputs[1])) === true
  if (Dim.isOne(group) || !readsHead) {
    const [lo, hi, fullLo, fullHi] = of(Value.uniform(firstHead)) as [I, I, I, I]
    return { lo, hi, fullLo, fullHi }
  }
  const all = of(Value.uniform(firstHead)).map((x) => e.variable(x))
  e.loop(i32(1), e.dim(group), 1, (g) => {
    of(Value.uniform(e.add(firstHead, g))).forEach((x, n) => {
      const least = n === 0 || n === 3
      const most = all[n] as (typeof all)[number]
      most.set(select(x, most.value, op(least ? "i32.lt_s" : "i32.gt_s", x, most.value)))
    })
  })
  const [lo, hi, fullLo, fullHi] = all.map((x) => e.now(x.value)) as [I, I, I, I]
  return { lo, hi, fullLo, fullHi }
}
