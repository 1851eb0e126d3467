import * as Dim from "../../../ir/Dim.ts"
import * as FlashAttention from "../../../ir/ops/flashAttention.ts"
import { type Expr, i32, load, store } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import * as Frame from "../emit/Frame.ts"
import * as Storage from "../emit/storage.ts"
import * as Value from "../emit/Value.ts"
import type { Lowered, Ref } from "../Job.ts"
import { liesAcross, liesAlong } from "../kernels/pack.ts"
import { tileColumns } from "../kernels/tile.ts"
import { nameOf } from "./attend.ts"
import { turns } from "./hidden.ts"
import * as Lines from "./lines.ts"
import * as Logits from "./logits.ts"
import * as Place from "./Place.ts"
import { hasValues, type Problem } from "./Problem.ts"
import * as Rows from "./rows.ts"
import { stage } from "./stage.ts"
import * as Stream from "./stream.ts"
import type { Tiles } from "./Tiles.ts"

type I = Expr<"i32">

/** What is known of a row after some of the keys: its greatest score and its sum of weights, in all lanes, and sums of weighted values. */
export const part = { max: 0, sum: 16, values: 32 } as const

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to

/** Bytes of a row's part. */
export const partBytes = (problem: Problem): number =>
  part.values + (hasValues(problem) ? 4 * roundUp(Dim.value(problem.E) as number, tileColumns) : 0)

/** Number of items that the keys of a head are divided among. */
export const splits = (frame: Frame.Frame, { S }: Problem, { split }: Tiles): I =>
  frame.e.div(frame.e.add(frame.e.dim(S), i32(split - 1)), i32(split))

/** Bytes of a row in memory of the kernel. */
const stepOf = (width: Dim.Dim, vector: number): number => 4 * roundUp(Dim.value(width) as number, vector)

/**
 * All queries of a head look at some of the keys, which are read where they lie, or from a copy of a tile where they lie in another way. What
 * they come to is a part for each row, and another of masked keys that take part, since greater scores of other keys may exclude these.
 */
export const decode = (problem: Problem, parts: Ref, tiles: Tiles): Lowered => {
  const { job, node, B, Hkv, S, E, terms } = problem
  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const [rowCount, keys] = [e.dim(Dim.mul(problem.T, problem.group)), e.dim(S)]
  const lastKey = e.sub(keys, i32(1))
  const many = splits(frame, problem, tiles)
  const rows = Rows.make(frame, problem, tiles, { rows: 4, exact: true })
  const memory = (rowsOf: number, step: number): I => frame.local(Dim.constant((rowsOf * step) / 16))
  const queries = terms.map(({ D }) => ({ step: stepOf(D, 4), at: memory(tiles.rows, stepOf(D, 4)) }))
  const operands = FlashAttention.parts(node.operands, node.attrs)
  const keyRows = operands.terms.map(({ k }, n) => {
    const lines = Lines.of(job, k, 4)
    const step = stepOf((terms[n] as Problem["terms"][number]).D, 4)
    const across = lines === undefined && liesAcross(job, (terms[n] as Problem["terms"][number]).k)
    return { node: k, lines, across, copied: memory(Lines.always(lines) ? 0 : tiles.keys, step) }
  })
  const { v } = operands
  const valueLines = Lines.of(job, v, tileColumns)
  const valueStep = stepOf(E, tileColumns)
  const valuesAcross = valueLines === undefined && liesAlong(job, problem.v)
  const valueCopy = memory(hasValues(problem) && !Lines.always(valueLines) ? tiles.keys : 0, valueStep)
  const stream = Stream.make(frame)
  /** Reads the values of a key of a tile where they lie, if they always do. */
  const readValues = (batch: ReadonlyArray<Value.Value>, start: I): ((key: I) => void) | undefined => {
    if (valueLines === undefined || !hasValues(problem) || !Lines.always(valueLines)) return undefined
    const { step, dtype } = valueLines
    const bytes = Storage.bytesOf(dtype) * (Dim.value(E) as number)
    const first = Lines.address(frame, body, v, [...batch, Value.uniform(start), Value.integer(0)])
    return (key) => stream.read(e.add(first, e.mul(key, i32(step))), bytes)
  }

  e.loop(frame.begin, frame.end, 1, (item) => {
    const pair = e.div(item, many)
    const from = e.mul(e.sub(item, e.mul(pair, many)), i32(tiles.split))
    const to = e.min(e.add(from, i32(tiles.split)), keys)
    const place = Place.of(e, problem, pair, i32(0), rowCount)
    const batch = [place.b, place.keyHead]
    rows.reset(place, rowCount)
    terms.forEach(({ q, D }, n) => {
      const { at, step } = queries[n] as (typeof queries)[number]
      stage(frame, {
        first: i32(0),
        count: rowCount,
        last: e.sub(rowCount, i32(1)),
        width: D,
        at: (row, d) => q.at(body, e, batch, Value.delinearize(e, row, q.free), [d]),
        to: at,
        step
      })
    })
    const logits: Rows.Source["logits"] = (_, { start, count }, n, block) => {
      const { k, D } = terms[n] as Problem["terms"][number]
      const { at, step } = queries[n] as (typeof queries)[number]
      const { node, lines, across, copied } = keyRows[n] as (typeof keyRows)[number]
      const shared = k.batch.map((d, axis) =>
        Dim.isOne(d) ? Value.integer(0) : (batch[axis] as Value.Value)
      )
      Lines.reach(frame, lines, {
        tile: { start, count },
        address: () => Lines.address(frame, body, node, [...shared, Value.uniform(start), Value.integer(0)]),
        copied: { at: copied, step },
        copy: () =>
          stage(frame, {
            first: start,
            count,
            last: lastKey,
            width: D,
            at: (row, d) => k.at(body, e, shared, Value.delinearize(e, row, k.free), [d]),
            to: copied,
            step,
            across
          }),
        goOn: (from, keyStep, vectors) =>
          Logits.dots(frame, {
            rows: rowCount,
            queries: at,
            keys: from,
            count,
            step,
            keyStep,
            vectors,
            read: n === 0 ? readValues(batch, start) : undefined,
            block
          })
      })
    }
    const values: Rows.Source["values"] = ({ start, count }, then) =>
      Lines.reach(frame, valueLines, {
        tile: { start, count },
        address: () => Lines.address(frame, body, v, [...batch, Value.uniform(start), Value.integer(0)]),
        copied: { at: valueCopy, step: valueStep },
        copy: () =>
          stage(frame, {
            first: start,
            count,
            last: lastKey,
            width: E,
            at: (row, column) =>
              problem.v.at(body, e, batch, [column], Value.delinearize(e, row, problem.v.depth)),
            to: valueCopy,
            step: valueStep,
            across: valuesAcross
          }),
        goOn: (at, step, vectors) => then({ values: at, panelBytes: i32(2 * vectors.bytes), step, vectors })
      })
    const bytes = partBytes(problem)
    const storePart = (turn: I): void => {
      const number = e.add(e.mul(item, i32(turns(problem))), turn)
      const start = e.add(frame.pointer(parts), e.mul(e.mul(number, rowCount), i32(bytes)))
      e.loop(i32(0), rowCount, 1, (row) => {
        const at = e.add(start, e.mul(row, i32(bytes)))
        const { max, sum } = rows.statistics
        e.line(store("v128.store", at, max(row), part.max))
        e.line(store("v128.store", at, sum(row), part.sum))
        const sums = rows.sumsOf(row)
        e.loop(i32(0), i32(bytes - part.values), 16, (c) =>
          e.line(store("v128.store", e.add(at, c), load("v128.load", e.add(sums, c)), part.values))
        )
      })
      if (turns(problem) > 1) rows.forget(rowCount)
    }
    rows.pass(place, { from, to }, { logits, values }, storePart)
    stream.keep()
  })
  return frame.finish(nameOf("decode", problem), { times: Dim.mul(B, Hkv), of: S, per: tiles.split })
}
