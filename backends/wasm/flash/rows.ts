import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, splat, store } from "../assembler/Instruction.ts"
import type { Frame } from "../emit/Frame.ts"
import { panels } from "../kernels/pack.ts"
import { tileColumns } from "../kernels/tile.ts"
import * as Keys from "./keys.ts"
import type { Place } from "./Place.ts"
import { hasValues, type Problem } from "./Problem.ts"
import * as Regions from "./regions.ts"
import * as Softmax from "./softmax.ts"
import type { Tiles } from "./Tiles.ts"
import * as Values from "./values.ts"

type I = Expr<"i32">

/** Some keys, one after the other. */
export interface Tile {
  readonly start: I
  readonly count: I
}

/** What a pass reads: it fills a block with the logits of a term, and goes on with where the values of a tile lie. */
export interface Source {
  readonly logits: (tile: Tile, term: number, block: { readonly start: I; readonly rowBytes: number }) => void
  readonly values: (tile: Tile, then: (lying: Values.Lying) => void) => void
}

/** What a block of rows carries from tile to tile, and the pass over keys that changes it. */
export interface Rows {
  readonly statistics: Softmax.Statistics
  /** Where the sum of weighted values of a row lies. */
  readonly sumsOf: (row: I) => I
  readonly reset: (count: I) => void
  readonly pass: (place: Place, keys: { readonly from: I; readonly to: I }, source: Source) => void
}

/** Logits of a tile, the score and mask regions on vectors of keys, online softmax in float32, and the product with the values. */
export const make = (frame: Frame, problem: Problem, { rows, keys }: Tiles, tiling: Values.Tiling): Rows => {
  const { e } = frame
  const scoreBytes = 4 * keys
  const scores = problem.terms.map(() => frame.local(Dim.constant((rows * keys) / 4)))
  const statistics = Softmax.memory(frame, rows)
  const valuePanels = panels(e, problem.v.free, tileColumns)
  const stride = e.mul(valuePanels, i32(4 * tileColumns))
  const sums = frame.local(
    Dim.mul(Dim.constant(Math.ceil(rows / 4)), Dim.add(problem.E, Dim.constant(tileColumns - 1)))
  )
  const { range, rowRange } = problem.node.attrs
  const regions = {
    range: Regions.optional(frame, problem, range),
    rowRange: Regions.optional(frame, problem, rowRange)
  }
  return {
    statistics,
    sumsOf: (row) => e.add(sums, e.mul(row, stride)),
    reset: (count) => {
      statistics.reset(count)
      if (!hasValues(problem)) return
      e.loop(i32(0), e.mul(stride, count), 16, (at) => e.line(store("v128.store", e.add(sums, at), splat(0))))
    },
    pass: (place, { from, to }, source) =>
      Keys.each(frame, problem, regions, { place, statistics, from, to, tile: keys }, (tile, visible) => {
        const { start, count } = tile
        problem.terms.forEach((_, n) => {
          source.logits(tile, n, { start: scores[n] as I, rowBytes: scoreBytes })
        })
        const hidden = e.variable(splat(0))
        const weigh = (certain: boolean) => (): void =>
          Softmax.weigh(frame, problem, {
            place,
            scores,
            scoreBytes,
            statistics,
            start,
            count: certain ? i32(keys) : count,
            end: e.add(start, count),
            certain,
            hidden
          })
        e.branch(visible, weigh(true), weigh(false))
        if (!hasValues(problem)) return
        source.values(tile, (lying) =>
          Values.add(frame, {
            ...lying,
            weights: scores[0] as I,
            weightStride: scoreBytes,
            hidden,
            rowCount: place.rowCount,
            tiling,
            factor: statistics.factor,
            panels: valuePanels,
            sums,
            sumStride: stride,
            count
          })
        )
      })
  }
}
