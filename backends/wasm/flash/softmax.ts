import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, load, op, select, splat, splatF32, store } from "../assembler/Instruction.ts"
import type { Emitter, Variable } from "../emit/Emitter.ts"
import type { Frame } from "../emit/Frame.ts"
import { choose, exp2Below } from "../emit/math.ts"
import * as Value from "../emit/Value.ts"
import { across } from "../kernels/rowOps.ts"
import { visibleFrom } from "./hidden.ts"
import type { Place } from "./Place.ts"
import type { Problem } from "./Problem.ts"
import * as Regions from "./regions.ts"

type I = Expr<"i32">
type V = Expr<"v128">

/** What is carried from tile to tile for each row, the same in all lanes: the greatest score, the sum of weights, the last rescaling. */
export interface Statistics {
  readonly reset: (rows: I) => void
  readonly max: (row: I) => V
  readonly sum: (row: I) => V
  readonly factor: (row: I) => V
  readonly set: (row: I, what: "max" | "sum" | "factor", value: V) => void
  /** Those of the rows from one on. */
  readonly from: (row: I) => Statistics
}

export const memory = (frame: Frame, rows: number): Statistics => {
  const { e } = frame
  const start = frame.local(Dim.constant(3 * rows))
  const offset = { max: 0, sum: 16 * rows, factor: 32 * rows }
  const at = (first: I): Statistics => {
    const place = (row: I): I => e.add(first, e.mul(row, i32(16)))
    return {
      reset: (count) =>
        e.loop(i32(0), count, 1, (row) => {
          e.line(store("v128.store", place(row), splatF32(-Infinity), offset.max))
          e.line(store("v128.store", place(row), splat(0), offset.sum))
          e.line(store("v128.store", place(row), splatF32(1), offset.factor))
        }),
      max: (row) => load("v128.load", place(row), offset.max),
      sum: (row) => load("v128.load", place(row), offset.sum),
      factor: (row) => load("v128.load", place(row), offset.factor),
      set: (row, what, value) => e.line(store("v128.store", place(row), value, offset[what])),
      from: (row) => at(place(row))
    }
  }
  return at(start)
}

/** Distances are taken from a finite number, so that those of -inf are -inf. */
export const finite = (e: Emitter, max: V): V =>
  e.now(op("f32x4.pmax", max, splatF32(-3.4028234663852886e38)))

/** The greater of two scores. NaN shows in the sum of weights; where it must be told from +inf it shows here too, for which engines need more instructions. */
export const greater = ({ asked }: Problem, a: V, b: V): V =>
  op(asked.some(({ output }) => output === "max" || output === "lse") ? "f32x4.max" : "f32x4.pmax", a, b)

/** exp(x - max) for x of at most max. */
export const weight = (e: Emitter, { isScaled }: Problem, x: V, max: V): V => {
  const distance = op("f32x4.sub", x, max)
  return exp2Below(e, e.bind(isScaled ? distance : op("f32x4.mul", distance, splatF32(Math.LOG2E))))
}

/** From one key on to before another. */
export interface Run {
  readonly lo: I
  readonly hi: I
}

export interface Tile {
  readonly place: Place
  /** Logits, one block for each term; weights take the place of the first. */
  readonly scores: ReadonlyArray<I>
  /** From one row to the next. */
  readonly scoreBytes: number
  readonly statistics: Statistics
  /** The first key, how many, and the end of what takes part at all. */
  readonly start: I
  readonly count: I
  readonly end: I
  /** Keys that all rows see, in whole panels. */
  readonly certain: Run
  /** Where masked keys have a score: 1 if it is they who take part, 0 if it is the others. */
  readonly masked: I | undefined
  /** Gets ones where a pair takes no part. */
  readonly hidden: Variable<"v128">
}

/** The weight of a pair that takes no part: a zero with a sign, which no weight has. Its value must not reach the row, not even as 0 * NaN. */
export const noPart = 0x80000000

/** Vectors of keys of a round of the loop where nothing hides any. */
const unrolled = 2

/**
 * Logits become scores, and scores weights, relative to the greatest score so far. All rows have their maxima before the first has a weight: what is computed of
 * one row waits for what is computed of it, and not for other rows.
 */
export const weigh = (frame: Frame, problem: Problem, tile: Tile): void => {
  const { e } = frame
  const { attrs } = problem.node
  const { place, start, count, statistics } = tile
  const region = (graph: typeof attrs.mask) => Regions.optional(frame, problem, graph)
  const score = Regions.inline(frame, problem, attrs.score)
  const [mask, probability] = [region(attrs.mask), region(attrs.probability)]
  const hidden = problem.normalised ? splatF32(-Infinity) : splat(noPart)
  const certain = { lo: e.sub(tile.certain.lo, start), hi: e.sub(tile.certain.hi, start) }

  const eachRow = (inside: (row: Row) => void): void =>
    e.loop(i32(0), place.rowCount, 1, (r) => inside(rowOf(r)))
  const rowOf = (r: I): Row => {
    const rows = tile.scores.map((block) => e.add(block, e.mul(r, i32(tile.scoreBytes))))
    const vectorAt = (c: I): Keys => ({
      first: c,
      at: rows.map((row) => e.add(row, e.mul(c, i32(4)))),
      offset: 0
    })
    return {
      r,
      position: [place.b, place.headOf(r), place.queryOf(r)],
      within: ({ lo, hi }, inside) =>
        e.loop(lo, hi, 4 * unrolled, (c) => {
          const { at } = vectorAt(c)
          for (let n = 0; n < unrolled; n++)
            inside({ first: e.add(c, i32(4 * n)), at, offset: 16 * n, isCertain: true })
        }),
      beside: ({ lo, hi }, inside) => {
        const skipped = e.sub(hi, lo)
        e.loop(i32(0), e.sub(count, skipped), 4, (n) =>
          inside(vectorAt(e.add(n, select(skipped, i32(0), op("i32.ge_s", n, lo)))))
        )
      }
    }
  }
  const indexOf = ({ first, isCertain }: Keys): Value.Affine => ({
    _tag: "affine",
    base: e.add(start, first),
    step: 1,
    align: 4,
    // Past the last key captures are read at the last one.
    ...(isCertain ? { below: problem.S } : {})
  })
  /** Ones in the pass over masked keys. */
  const turned = tile.masked && e.bind(op("i32x4.splat", op("i32.sub", i32(0), tile.masked)))
  /** What takes part in this pass: visible keys, or masked ones where a row has any. */
  const taken = (r: I, s: V, seen: V): V => {
    if (turned === undefined) return choose(e, s, hidden, seen)
    const isFar = visibleFrom(problem, statistics.max(r))
    const fill = e.now(choose(e, hidden, splatF32(problem.fill as number), isFar))
    return choose(e, choose(e, fill, s, turned), hidden, op("v128.xor", seen, turned))
  }
  const scoreOf = ({ r, position }: Row, keys: Keys): V => {
    const key = indexOf(keys)
    const logits = keys.at.map((address) => e.now(load("v128.load", address, keys.offset)))
    const scored = problem.isScaled
      ? logits.reduce((a, b) => e.now(op("f32x4.add", a, b)))
      : Value.toVector(e, score(...logits.map(Value.vector), ...position, key)[0] as Value.Value)
    // A score of -0 is a weight as well.
    const s = problem.normalised ? scored : e.bind(op("f32x4.add", scored, splat(0)))
    if (keys.isCertain) return s
    const masked =
      mask === undefined
        ? s
        : taken(r, s, e.bind(Value.toVector(e, mask(...position, key)[0] as Value.Value)))
    const inside = op("i32x4.lt_s", Value.toVector(e, key), e.bind(op("i32x4.splat", tile.end)))
    return e.bind(choose(e, masked, hidden, inside))
  }
  const put = ({ at, offset }: Keys, value: V): void => e.line(store("v128.store", at[0] as I, value, offset))
  const weighted = ({ position }: Row, keys: Keys, value: V): V => {
    if (probability === undefined) return value
    const factor = Value.toVector(e, probability(...position, indexOf(keys))[0] as Value.Value)
    // A product of -0 is a weight as well.
    return op("f32x4.add", op("f32x4.mul", value, factor), splat(0))
  }
  const note = (absent: V): void => tile.hidden.set(op("v128.or", tile.hidden.value, absent))

  if (!problem.normalised) {
    eachRow((row) => {
      row.within(certain, (keys) => put(keys, scoreOf(row, keys)))
      row.beside(certain, (keys) => {
        const s = e.now(scoreOf(row, keys))
        put(keys, s)
        note(op("i32x4.eq", s, hidden))
      })
    })
    return
  }
  const least = e.variable(splatF32(Infinity))
  eachRow((row) => {
    const before = e.now(statistics.max(row.r))
    // One for each vector of a round, so that they do not wait for each other.
    const greatest = Array.from({ length: unrolled }, () => e.variable(before))
    const noteScore = ({ offset }: Keys, s: V): void => {
      const most = greatest[offset / 16] as Variable<"v128">
      most.set(greater(problem, most.value, s))
    }
    row.within(certain, (keys) => {
      const s = e.now(scoreOf(row, keys))
      if (!problem.isScaled || keys.at.length > 1) put(keys, s)
      noteScore(keys, s)
      least.set(op("f32x4.pmin", least.value, s))
    })
    row.beside(certain, (keys) => {
      const s = e.now(scoreOf(row, keys))
      put(keys, s)
      noteScore(keys, s)
    })
    const all = greatest.map((x) => x.value).reduce((a, b) => e.now(greater(problem, a, b)))
    const max = across(e, all, (a, b) => greater(problem, a, b))
    statistics.set(row.r, "max", max)
    statistics.set(row.r, "factor", weight(e, problem, finite(e, before), finite(e, max)))
  })
  // Scores of -inf hide keys as masks do.
  const isOpen = e.now(op("v128.any_true", op("f32x4.eq", least.value, splatF32(-Infinity))))
  const some = { lo: certain.lo, hi: e.now(select(certain.lo, certain.hi, isOpen)) }
  eachRow((row) => {
    const max = finite(e, statistics.max(row.r))
    const total = e.variable(splatF32(0))
    const weightOf = (s: V): V => {
      const w = weight(e, problem, s, max)
      total.set(op("f32x4.add", total.value, w))
      return w
    }
    const scoreAt = ({ at, offset }: Keys): V => e.now(load("v128.load", at[0] as I, offset))
    row.within(some, (keys) => put(keys, weighted(row, keys, weightOf(scoreAt(keys)))))
    row.beside(some, (keys) => {
      const s = scoreAt(keys)
      const w = weightOf(s)
      const absent = e.now(op("f32x4.eq", s, hidden))
      note(absent)
      put(keys, choose(e, splat(noPart), weighted(row, keys, w), absent))
    })
    const sum = across(e, total.value, (a, b) => op("f32x4.add", a, b))
    const before = op("f32x4.mul", statistics.sum(row.r), statistics.factor(row.r))
    statistics.set(row.r, "sum", e.now(op("f32x4.add", before, sum)))
  })
}

/** A vector of keys: the first, counted from that of the tile, and where what belongs to it lies. */
interface Keys {
  readonly first: I
  readonly at: ReadonlyArray<I>
  readonly offset: number
  readonly isCertain?: true
}

/** One row, and loops over keys of a run, or over all others. */
interface Row {
  readonly r: I
  readonly position: ReadonlyArray<Value.Value>
  readonly within: (run: Run, inside: (keys: Keys) => void) => void
  readonly beside: (run: Run, inside: (keys: Keys) => void) => void
}
