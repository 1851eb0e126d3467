import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, load } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import * as Frame from "../emit/Frame.ts"
import * as Storage from "../emit/storage.ts"
import * as Value from "../emit/Value.ts"
import type { Lowered, Ref } from "../Job.ts"
import { panelBytes, panels } from "../kernels/pack.ts"
import { tileColumns, tileRows } from "../kernels/tile.ts"
import * as Logits from "./logits.ts"
import * as Output from "./output.ts"
import * as Place from "./Place.ts"
import type { Problem } from "./Problem.ts"
import * as Rows from "./rows.ts"
import { stage } from "./stage.ts"
import type { Tiles } from "./Tiles.ts"
import type * as Values from "./values.ts"

type I = Expr<"i32">

/** A block of queries of one head passes once over the keys that it sees, which lie in panels. One division at the end. */
export const attend = (
  problem: Problem,
  packed: ReadonlyArray<Ref>,
  layout: Values.Layout | undefined,
  tiles: Tiles
): Lowered => {
  const { Hkv, S, B } = problem
  const R = Dim.mul(problem.T, problem.group)
  const frame = Frame.open(problem.job)
  const { e } = frame
  const put = Output.make(frame, problem)
  const [allRows, keys] = [e.dim(R), e.dim(S)]
  const blocks = e.div(e.add(allRows, i32(tiles.rows - 1)), i32(tiles.rows))
  const rows = Rows.make(frame, problem, tiles, { rows: tileRows, exact: false })
  const body = Body.make(frame, problem.job.body)
  const queries = problem.terms.map(({ D }) => ({
    step: e.mul(e.dim(D), i32(4)),
    at: frame.local(Dim.mul(Dim.constant(Math.ceil(tiles.rows / 4)), D))
  }))

  e.loop(frame.begin, frame.end, 1, (item) => {
    const pair = e.div(item, blocks)
    const first = e.mul(e.sub(item, e.mul(pair, blocks)), i32(tiles.rows))
    const rowCount = e.min(i32(tiles.rows), e.sub(allRows, first))
    const place = Place.of(e, problem, pair, first, rowCount)
    rows.reset(place, i32(tiles.rows))
    problem.terms.forEach(({ q, D }, n) => {
      stage(frame, {
        first,
        // A tile of rows is filled up with the last one.
        count: e.mul(e.div(e.add(rowCount, i32(tileRows - 1)), i32(tileRows)), i32(tileRows)),
        last: e.sub(allRows, i32(1)),
        width: D,
        at: (row, d) => q.at(body, e, [place.b, place.keyHead], Value.delinearize(e, row, q.free), [d]),
        to: queries[n]?.at as I,
        step: queries[n]?.step as I
      })
    })
    rows.pass(
      place,
      { from: i32(0), to: keys },
      {
        logits: (some, tile, n, { start, rowBytes }) => {
          const { at, step } = queries[n] as (typeof queries)[number]
          Logits.multiply(frame, problem.terms[n] as Problem["terms"][number], {
            ...tile,
            place,
            queries: { at: e.add(at, e.mul(some.first, step)), step },
            k: packed[n] as Ref,
            scores: start,
            scoreBytes: rowBytes
          })
        },
        values: ({ start }, then) => {
          const { ref, panelBytes: apart, step } = layout as Values.Layout
          const head = Value.linearize(e, [place.b, place.keyHead], problem.v.batch)
          const whole = panelBytes(e, problem.v.depth, tileColumns)
          const headBytes = e.mul(panels(e, problem.v.free, tileColumns), whole)
          const before = e.add(frame.pointer(ref), e.mul(Value.first(e, head), headBytes))
          then({
            values: e.add(before, e.mul(start, i32(step))),
            panelBytes: apart === undefined ? whole : i32(apart),
            step,
            vectors: Storage.vectors("f32")
          })
        }
      },
      () => {}
    )
    e.loop(i32(0), rowCount, 1, (r) => {
      const { max, sum } = rows.statistics
      const at = rows.sumsOf(r)
      const values = (c: I) => load("v128.load", e.add(at, e.mul(c, i32(4))))
      put(place, r, { max: e.now(max(r)), sum: e.now(sum(r)), values })
    })
  })
  return frame.finish(nameOf("flash", problem), { times: Dim.mul(B, Hkv), of: R, per: tiles.rows })
}

/** The kernel's name says what it gives besides a result. */
export const nameOf = (kernel: string, { asked }: Problem): string =>
  [kernel, ...asked.flatMap(({ output }) => (output === "result" ? [] : [output]))].join("_")
