import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, load, op, splat, splatF32, store } from "../assembler/Instruction.ts"
import type { Emitter, Variable } from "../emit/Emitter.ts"
import type { Frame } from "../emit/Frame.ts"
import { choose, exp2Below, exp2From126 } from "../emit/math.ts"
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

/** The greater of two scores. NaN shows in the sum of weights; where the maximum is the result it shows there too, for which engines need more instructions. */
export const greater = ({ asked }: Problem, a: V, b: V): V =>
  op(asked.some(({ output }) => output === "max") ? "f32x4.max" : "f32x4.pmax", a, b)

const distance = (e: Emitter, x: V, max: V): V =>
  e.bind(op("f32x4.mul", op("f32x4.sub", x, max), splatF32(Math.LOG2E)))

/** exp(x - max) for x of at most max. */
export const weight = (e: Emitter, x: V, max: V): V => exp2Below(e, distance(e, x, max))

/** The same where no score is 87 below the maximum. */
const smallWeight = (e: Emitter, x: V, max: V): V => exp2From126(e, distance(e, x, max))

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
  /** Whether all keys are visible to all rows. */
  readonly certain: boolean
  /** Where masked keys have a score: 1 if it is they who take part, 0 if it is the others. */
  readonly masked: I | undefined
  /** Gets ones where a pair takes no part. */
  readonly hidden: Variable<"v128">
}

/** The weight of a pair that takes no part: a zero with a sign, which no weight has. Its value must not reach the row, not even as 0 * NaN. */
export const noPart = 0x80000000

/** Logits become scores, and scores weights, relative to the greatest score so far. */
export const weigh = (frame: Frame, problem: Problem, tile: Tile): void => {
  const { e } = frame
  const { attrs } = problem.node
  const { place, start, count, statistics } = tile
  const region = (graph: typeof attrs.mask) => Regions.optional(frame, problem, graph)
  const score = Regions.inline(frame, problem, attrs.score)
  const [mask, probability] = [region(attrs.mask), region(attrs.probability)]
  const hidden = problem.normalised ? splatF32(-Infinity) : splat(noPart)
  const unrolled = tile.certain ? 2 : 1

  e.loop(i32(0), place.rowCount, 1, (r) => {
    const position = [place.b, place.headOf(r), place.queryOf(r)]
    const rows = tile.scores.map((block) => e.add(block, e.mul(r, i32(tile.scoreBytes))))
    const keyAt = (c: I): Value.Affine => ({
      _tag: "affine",
      base: e.add(start, c),
      step: 1,
      align: 4,
      // Past the last key captures are read at the last one.
      ...(tile.certain ? { below: problem.S } : {})
    })
    /** Vectors of keys: their first, and where what belongs to them lies. */
    const vectors = (inside: (c: I, at: ReadonlyArray<I>, offset: number) => void): void =>
      e.loop(i32(0), count, 4 * unrolled, (c) => {
        const at = rows.map((row) => e.add(row, e.mul(c, i32(4))))
        for (let n = 0; n < unrolled; n++) inside(e.add(c, i32(4 * n)), at, 16 * n)
      })
    /** Ones in the pass over masked keys, and what these have for a score. */
    const turned = tile.masked && e.bind(op("i32x4.splat", op("i32.sub", i32(0), tile.masked)))
    const fill =
      turned &&
      e.now(
        choose(
          e,
          splatF32(-Infinity),
          splatF32(problem.fill as number),
          visibleFrom(problem, statistics.max(r))
        )
      )
    /** What takes part in this pass: visible keys, or masked ones. */
    const taken = (s: V, seen: V): V =>
      turned === undefined || fill === undefined
        ? choose(e, s, hidden, seen)
        : choose(e, choose(e, fill, s, turned), hidden, op("v128.xor", seen, turned))
    const scoreAt = (c: I, at: ReadonlyArray<I>, offset: number): V => {
      const key = keyAt(c)
      const logits = at.map((address) => Value.vector(e.now(load("v128.load", address, offset))))
      const scored = Value.toVector(e, score(...logits, ...position, key)[0] as Value.Value)
      // A score of -0 is a weight as well.
      const s = problem.normalised ? scored : e.bind(op("f32x4.add", scored, splat(0)))
      if (tile.certain) return s
      const masked =
        mask === undefined ? s : taken(s, e.bind(Value.toVector(e, mask(...position, key)[0] as Value.Value)))
      const inside = op("i32x4.lt_s", Value.toVector(e, key), e.bind(op("i32x4.splat", tile.end)))
      return e.bind(choose(e, masked, hidden, inside))
    }
    const weighted = (c: I, value: V): V =>
      probability === undefined
        ? value
        : op("f32x4.mul", value, Value.toVector(e, probability(...position, keyAt(c))[0] as Value.Value))
    const note = (absent: V): void => tile.hidden.set(op("v128.or", tile.hidden.value, absent))

    if (!problem.normalised) {
      vectors((c, at, offset) => {
        const s = e.now(scoreAt(c, at, offset))
        e.line(store("v128.store", at[0] as I, s, offset))
        if (!tile.certain) note(op("i32x4.eq", s, hidden))
      })
      return
    }
    const before = e.now(statistics.max(r))
    const [greatest, least] = [e.variable(before), e.variable(splatF32(Infinity))]
    vectors((c, at, offset) => {
      const s = e.now(scoreAt(c, at, offset))
      e.line(store("v128.store", at[0] as I, s, offset))
      greatest.set(greater(problem, greatest.value, s))
      least.set(op("f32x4.pmin", least.value, s))
    })
    const max = across(e, greatest.value, (a, b) => greater(problem, a, b))
    const [from, to] = [finite(e, before), finite(e, max)]
    const factor = e.now(weight(e, from, to))
    const total = e.variable(splatF32(0))
    // -inf among them. Less than e^-87 may be no weight at all: beside a large value the smallest number is one.
    const someFar = op("v128.any_true", op("f32x4.lt", least.value, op("f32x4.sub", to, splatF32(87))))
    const weights = (emit: (s: V, c: I) => { readonly sum: V; readonly weight: V }) => (): void =>
      vectors((c, [at], offset) => {
        const { sum, weight: own } = emit(e.now(load("v128.load", at as I, offset)), c)
        total.set(op("f32x4.add", total.value, sum))
        e.line(store("v128.store", at as I, own, offset))
      })
    e.branch(
      someFar,
      weights((s, c) => {
        const absent = e.now(op("f32x4.eq", s, hidden))
        note(absent)
        const w = weight(e, s, to)
        return { sum: w, weight: choose(e, splat(noPart), weighted(c, w), absent) }
      }),
      weights((s, c) => {
        const w = smallWeight(e, s, to)
        return { sum: w, weight: weighted(c, w) }
      })
    )
    const sum = across(e, total.value, (a, b) => op("f32x4.add", a, b))
    statistics.set(r, "max", max)
    statistics.set(r, "factor", factor)
    statistics.set(r, "sum", e.now(op("f32x4.add", op("f32x4.mul", statistics.sum(r), factor), sum)))
  })
}
