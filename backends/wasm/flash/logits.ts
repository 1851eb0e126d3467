import { type Expr, i32, splatF32, store } from "../assembler/Instruction.ts"
import type { Frame } from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import type { Ref } from "../Job.ts"
import { panelBytes, panels } from "../kernels/pack.ts"
import { accumulate, tileColumns, tileRows } from "../kernels/tile.ts"
import type { Term } from "./Problem.ts"

type I = Expr<"i32">

/** A block of rows and a tile of keys. */
interface Tile {
  readonly b: Value.Value
  readonly keyHead: Value.Value
  /** Number of the batch entry and key/value head. */
  readonly pair: I
  readonly first: I
  readonly rowCount: I
  readonly start: I
  readonly count: I
  readonly q: Ref
  readonly k: Ref
  /** Where the logits go, and bytes from one row to the next. */
  readonly scores: I
  readonly scoreBytes: number
}

/** The logits of a term: packed queries times packed keys. */
export const multiply = (frame: Frame, term: Term, tile: Tile): void => {
  const { e } = frame
  const { rowCount, start, count, scores, scoreBytes } = tile
  const [qBytes, kBytes] = [panelBytes(e, term.q.depth, tileRows), panelBytes(e, term.k.depth, tileColumns)]
  const rows = e.add(e.mul(tile.pair, panels(e, term.q.free, tileRows)), e.div(tile.first, i32(tileRows)))
  const qStart = e.add(frame.pointer(tile.q), e.mul(rows, qBytes))
  const head = Value.linearize(e, [tile.b, tile.keyHead], term.k.batch)
  const columns = e.add(
    e.mul(Value.first(e, head), panels(e, term.k.free, tileColumns)),
    e.div(start, i32(tileColumns))
  )
  const kStart = e.add(frame.pointer(tile.k), e.mul(columns, kBytes))
  const depth = e.dim(term.D)
  const quads = e.div(e.add(rowCount, i32(tileRows - 1)), i32(tileRows))
  e.loop(i32(0), e.div(e.add(count, i32(tileColumns - 1)), i32(tileColumns)), 1, (panel) => {
    e.loop(i32(0), quads, 1, (quad) => {
      const sums = Array.from(
        { length: tileRows },
        () => [e.variable(splatF32(0)), e.variable(splatF32(0))] as const
      )
      accumulate(
        e,
        sums,
        { start: e.add(qStart, e.mul(quad, qBytes)), step: 4 * tileRows, row: (r) => 4 * r },
        { start: e.add(kStart, e.mul(panel, kBytes)), step: 4 * tileColumns },
        depth
      )
      const to = e.add(
        e.add(scores, e.mul(panel, i32(4 * tileColumns))),
        e.mul(quad, i32(tileRows * scoreBytes))
      )
      sums.forEach((row, r) => {
        row.forEach((sum, half) => {
          e.line(store("v128.store", to, sum.value, r * scoreBytes + 16 * half))
        })
      })
    })
  })
}
