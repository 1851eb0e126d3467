import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, load, op, select, splat, splatF32, store } from "../assembler/Instruction.ts"
import type { Emitter } from "../emit/Emitter.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import type { Lowered, Ref } from "../Job.ts"
import { panelBytes, panels } from "../kernels/pack.ts"
import { accumulate, tileColumns, tileRows } from "../kernels/tile.ts"
import type { Problem } from "./Problem.ts"
import * as Regions from "./regions.ts"
import * as Softmax from "./softmax.ts"
import * as Values from "./values.ts"

/** Queries of an item, and keys of a tile: scores, values and the tile of keys lie in the first two caches. */
const blockRows = 32
const blockKeys = 64

const scoreBytes = 4 * blockKeys

type I = Expr<"i32">

/**
 * A block of queries of one head passes once over the keys that it sees: logits of a tile by matrix products, the score and mask
 * regions on vectors of keys, online softmax in float32, and the product with the values. One division at the end.
 */
export const prefill = (
  problem: Problem,
  packed: ReadonlyArray<{ readonly q: Ref; readonly k: Ref }>,
  values: Ref | undefined
): Lowered => {
  const { node, Hkv, T, S, E, B } = problem
  const R = Dim.mul(T, problem.group)
  const frame = Frame.open(problem.job)
  const { e } = frame
  const epilogue = Epilogue.make(frame)
  const [allRows, keys, group] = [e.dim(R), e.dim(S), e.dim(problem.group)]
  const blocks = e.div(e.add(allRows, i32(blockRows - 1)), i32(blockRows))
  const scores = problem.terms.map(() => frame.local(Dim.constant((blockRows * blockKeys) / 4)))
  const statistics = Softmax.memory(frame, blockRows)
  const valuePanels = panels(e, problem.v.free, tileColumns)
  const valueStride = e.mul(valuePanels, i32(4 * tileColumns))
  const sums = frame.local(Dim.mul(Dim.constant(blockRows / 4), Dim.add(E, Dim.constant(tileColumns - 1))))
  const region = Regions.optional(frame, problem, node.attrs.range)

  e.loop(frame.begin, frame.end, 1, (item) => {
    const pair = e.div(item, blocks)
    const first = e.mul(e.sub(item, e.mul(pair, blocks)), i32(blockRows))
    const [b, keyHead] = Value.delinearize(e, Value.uniform(pair), [B, Hkv]) as [Value.Affine, Value.Affine]
    const rowCount = e.min(i32(blockRows), e.sub(allRows, first))
    const rowQuads = e.div(e.add(rowCount, i32(tileRows - 1)), i32(tileRows))
    const queryOf = (row: I): I => e.div(e.add(first, row), group)
    const firstHead = e.mul(keyHead.base, group)
    const place: Softmax.Place = {
      b,
      firstHead,
      rowCount,
      queryOf: (row) => Value.uniform(queryOf(row)),
      headOf: (row) => {
        const inGroup = e.sub(e.add(first, row), e.mul(queryOf(row), group))
        return Value.uniform(e.add(firstHead, Dim.isOne(problem.group) ? i32(0) : inGroup))
      }
    }

    statistics.reset()
    if (values !== undefined) {
      e.loop(i32(0), e.mul(valueStride, i32(blockRows)), 16, (at) =>
        e.line(store("v128.store", e.add(sums, at), splat(0)))
      )
    }
    const bounds = boundsOf(e, problem, region, place, keys)
    e.loop(bounds.lo, bounds.hi, blockKeys, (start) => {
      const count = e.min(i32(blockKeys), e.sub(bounds.hi, start))
      problem.terms.forEach((term, n) => {
        const { q, k } = packed[n] as { readonly q: Ref; readonly k: Ref }
        const [qBytes, kBytes] = [
          panelBytes(e, term.q.depth, tileRows),
          panelBytes(e, term.k.depth, tileColumns)
        ]
        const rows = e.add(e.mul(pair, panels(e, term.q.free, tileRows)), e.div(first, i32(tileRows)))
        const qStart = e.add(frame.pointer(q), e.mul(rows, qBytes))
        const head = Value.linearize(e, [b, keyHead], term.k.batch)
        const columns = e.add(
          e.mul(Value.first(e, head), panels(e, term.k.free, tileColumns)),
          e.div(start, i32(tileColumns))
        )
        const kStart = e.add(frame.pointer(k), e.mul(columns, kBytes))
        const depth = e.dim(term.D)
        e.loop(i32(0), e.div(e.add(count, i32(tileColumns - 1)), i32(tileColumns)), 1, (panel) => {
          e.loop(i32(0), rowQuads, 1, (quad) => {
            const tile = zeros(e)
            accumulate(
              e,
              tile,
              { start: e.add(qStart, e.mul(quad, qBytes)), step: 4 * tileRows, row: (r) => 4 * r },
              { start: e.add(kStart, e.mul(panel, kBytes)), step: 4 * tileColumns },
              depth
            )
            const to = e.add(
              e.add(scores[n] as I, e.mul(panel, i32(4 * tileColumns))),
              e.mul(quad, i32(tileRows * scoreBytes))
            )
            tile.forEach((row, r) => {
              row.forEach((sum, half) => {
                e.line(store("v128.store", to, sum.value, r * scoreBytes + 16 * half))
              })
            })
          })
        })
      })
      const hidden = e.variable(splat(0))
      const visible = bounds.full(start, count, blockKeys)
      const pass = (certain: boolean) => (): void =>
        Softmax.weigh(frame, problem, {
          place,
          scores,
          scoreBytes,
          statistics,
          start,
          count: certain ? i32(blockKeys) : count,
          end: bounds.hi,
          certain,
          hidden
        })
      e.branch(visible, pass(true), pass(false))
      if (values === undefined) return
      const head = Value.linearize(e, [b, keyHead], problem.v.batch)
      const vBytes = panelBytes(e, problem.v.depth, tileColumns)
      const vStart = e.add(
        e.add(frame.pointer(values), e.mul(Value.first(e, head), e.mul(valuePanels, vBytes))),
        e.mul(start, i32(4 * tileColumns))
      )
      Values.add(frame, {
        weights: scores[0] as I,
        weightStride: scoreBytes,
        hidden,
        rowCount,
        factor: statistics.factor,
        values: vStart,
        panels: valuePanels,
        panelBytes: vBytes,
        sums,
        sumStride: valueStride,
        count
      })
    })

    e.loop(i32(0), rowCount, 1, (r) => {
      const [h, i] = [place.headOf(r), place.queryOf(r)]
      const { factor, statistic } = Softmax.finish(frame, problem, statistics, place, r)
      if (values === undefined) {
        e.at(1, () => epilogue([b, h, i], Value.vector(statistic())))
        return
      }
      const row = e.add(sums, e.mul(r, valueStride))
      Frame.vectors(e, E, Dim.value(E), (c) => {
        const sum = load("v128.load", e.add(row, e.mul(c, i32(4))))
        const value = e.now(factor === undefined ? sum : op("f32x4.mul", sum, factor))
        epilogue([b, h, i, Value.along(e, c, E)], Value.vector(value))
      })
    })
  })
  return frame.finish(problem.output === "result" ? "flash" : `flash_${problem.output}`, {
    times: Dim.mul(B, Hkv),
    of: R,
    per: blockRows
  })
}

const zeros = (e: Emitter) =>
  Array.from({ length: tileRows }, () => [e.variable(splatF32(0)), e.variable(splatF32(0))] as const)

interface Bounds {
  /** A multiple of the columns of a panel. */
  readonly lo: I
  readonly hi: I
  /** Whether all queries certainly see all keys of a tile, which is not cut short. */
  readonly full: (start: I, count: I, whole: number) => I
}

/** What the range region says of the block: all keys where there is none, or where masked ones take part too. */
const boundsOf = (
  e: Emitter,
  problem: Problem,
  region: Regions.Region | undefined,
  place: Softmax.Place,
  keys: I
): Bounds => {
  const whole = (count: I, n: number): I => e.bind(op("i32.eq", count, i32(n)))
  if (problem.node.attrs.mask === undefined)
    return { lo: i32(0), hi: keys, full: (_, count, n) => whole(count, n) }
  if (region === undefined) return { lo: i32(0), hi: keys, full: () => i32(0) }
  const { lo, hi, fullLo, fullHi } = overHeads(e, problem, region, place)
  const all = problem.fill !== undefined
  const from = e.min(e.max(lo, i32(0)), keys)
  return {
    lo: all ? i32(0) : e.bind(op("i32.and", from, i32(-tileColumns))),
    hi: all ? keys : e.min(hi, keys),
    full: (start, count, n) => {
      const inside = op(
        "i32.and",
        op("i32.ge_s", start, fullLo),
        op("i32.le_s", e.add(start, i32(n)), fullHi)
      )
      return e.bind(op("i32.and", inside, op("i32.eq", count, i32(n))))
    }
  }
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
