import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, splat, splatF32, store } from "../assembler/Instruction.ts"
import type { Frame } from "../emit/Frame.ts"
import { choose } from "../emit/math.ts"
import * as Value from "../emit/Value.ts"
import { panels } from "../kernels/pack.ts"
import { tileColumns } from "../kernels/tile.ts"
import { visibleFrom } from "./hidden.ts"
import * as Keys from "./keys.ts"
import type { Place } from "./Place.ts"
import { hasValues, type Problem } from "./Problem.ts"
import * as Regions from "./regions.ts"
import * as Softmax from "./softmax.ts"
import type { Tiles } from "./Tiles.ts"
import * as Values from "./values.ts"

type I = Expr<"i32">

/** What a pass reads: it fills a block with the logits of a term, and goes on with where the values of a tile lie. */
export interface Source {
  readonly logits: (
    rows: Some,
    tile: Keys.Tile,
    term: number,
    block: { readonly start: I; readonly rowBytes: number }
  ) => void
  readonly values: (tile: Keys.Tile, then: (lying: Values.Lying) => void) => void
}

/** Rows from one on. */
interface Some {
  readonly first: I
  readonly count: I
}

/** What a block of rows carries from tile to tile, and the pass over keys that changes it. */
export interface Rows {
  readonly statistics: Softmax.Statistics
  /** Where the sum of weighted values of a row lies. */
  readonly sumsOf: (row: I) => I
  readonly reset: (place: Place, count: I) => void
  /** Starts rows anew, but for maxima above which a row takes no masked keys. */
  readonly forget: (count: I) => void
  /** `after` is emitted behind each turn of keys, whose number it is given. */
  readonly pass: (
    place: Place,
    keys: { readonly from: I; readonly to: I },
    source: Source,
    after: (turn: I) => void
  ) => void
}

/**
 * Logits of a tile, the score and mask regions on vectors of keys, online softmax in float32, and the product with the values. Where products
 * take as many rows as there are in registers, each of these looks only at keys that one of them may see.
 */
export const make = (frame: Frame, problem: Problem, { rows, keys }: Tiles, tiling: Values.Tiling): Rows => {
  const { e } = frame
  const scoreBytes = 4 * keys
  const together = tiling.exact ? rows : tiling.rows
  const scores = problem.terms.map(() => frame.local(Dim.constant((together * keys) / 4)))
  const statistics = Softmax.memory(frame, rows)
  const valuePanels = panels(e, problem.v.free, tileColumns)
  const stride = e.mul(valuePanels, i32(4 * tileColumns))
  const sums = frame.local(
    Dim.mul(Dim.constant(Math.ceil(rows / 4)), Dim.add(problem.E, Dim.constant(tileColumns - 1)))
  )
  const sumsOf = (row: I): I => e.add(sums, e.mul(row, stride))
  const { range, rowRange } = problem.node.attrs
  const regions = {
    range: Regions.optional(frame, problem, range),
    rowRange: Regions.optional(frame, problem, rowRange)
  }
  const sink =
    problem.fill === undefined ? undefined : Regions.optional(frame, problem, problem.node.attrs.sink)
  const clear = (count: I): void => {
    if (!hasValues(problem)) return
    e.loop(i32(0), e.mul(stride, count), 16, (at) => e.line(store("v128.store", e.add(sums, at), splat(0))))
  }
  return {
    statistics,
    sumsOf,
    reset: (place, count) => {
      statistics.reset(count)
      clear(count)
      // What a sink leaves of masked keys is known before they are visited.
      if (sink === undefined) return
      e.loop(i32(0), place.rowCount, 1, (row) => {
        const own = sink(place.b, place.headOf(row), place.queryOf(row))[0] as Value.Value
        statistics.set(row, "max", Value.toVector(e, own))
      })
    },
    forget: (count) => {
      e.loop(i32(0), count, 1, (row) => {
        const max = e.now(statistics.max(row))
        const kept = choose(e, max, splatF32(-Infinity), visibleFrom(problem, max))
        statistics.set(row, "max", kept)
        statistics.set(row, "sum", splat(0))
      })
      clear(count)
    },
    pass: (block, { from, to }, source, after) => {
      const apart = tiling.exact ? {} : { rows: together }
      const all = { place: block, statistics, from, to, tile: keys, ...apart }
      const visit: Keys.Emit = (place, row, tile, certain, masked) => {
        const { start, count, unseen } = tile
        const own = statistics.from(row)
        problem.terms.forEach((_, n) => {
          source.logits({ first: row, count: place.rowCount }, tile, n, {
            start: scores[n] as I,
            rowBytes: scoreBytes
          })
        })
        const hidden = e.variable(splat(0))
        Softmax.weigh(frame, problem, {
          place,
          scores,
          scoreBytes,
          statistics: own,
          start,
          count,
          end: e.add(start, count),
          certain,
          masked,
          hidden
        })
        if (!hasValues(problem)) return
        source.values(tile, (lying) =>
          Values.add(frame, {
            ...lying,
            values: e.add(lying.values, e.mul(unseen, i32(lying.step))),
            weights: e.add(scores[0] as I, e.mul(unseen, i32(4))),
            weightStride: scoreBytes,
            hidden,
            rowCount: place.rowCount,
            tiling,
            factor: own.factor,
            panels: valuePanels,
            sums: sumsOf(row),
            sumStride: stride,
            count: e.sub(count, unseen)
          })
        )
      }
      Keys.each(frame, problem, regions, all, visit, after)
    }
  }
}
