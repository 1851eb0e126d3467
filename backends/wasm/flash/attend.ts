import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, load, op, splat, store } from "../assembler/Instruction.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import type { Lowered, Ref } from "../Job.ts"
import { panelBytes, panels } from "../kernels/pack.ts"
import { tileColumns } from "../kernels/tile.ts"
import * as Keys from "./keys.ts"
import * as Logits from "./logits.ts"
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
export const attend = (
  problem: Problem,
  packed: ReadonlyArray<{ readonly q: Ref; readonly k: Ref }>,
  values: Values.Layout | undefined
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
    Keys.each(
      frame,
      problem,
      region,
      { place, statistics, keys, block: blockKeys },
      (start, count, visible) => {
        problem.terms.forEach((term, n) => {
          const { q, k } = packed[n] as { readonly q: Ref; readonly k: Ref }
          Logits.multiply(frame, term, {
            b,
            keyHead,
            pair,
            first,
            rowCount,
            start,
            count,
            q,
            k,
            scores: scores[n] as I,
            scoreBytes
          })
        })
        const hidden = e.variable(splat(0))
        const pass = (certain: boolean) => (): void =>
          Softmax.weigh(frame, problem, {
            place,
            scores,
            scoreBytes,
            statistics,
            start,
            count: certain ? i32(blockKeys) : count,
            end: e.add(start, count),
            certain,
            hidden
          })
        e.branch(visible, pass(true), pass(false))
        if (values === undefined) return
        const head = Value.linearize(e, [b, keyHead], problem.v.batch)
        const { ref, panelBytes: vBytes, step } = values
        const bytes = vBytes === undefined ? panelBytes(e, problem.v.depth, tileColumns) : i32(vBytes)
        const headBytes = e.mul(valuePanels, panelBytes(e, problem.v.depth, tileColumns))
        const vStart = e.add(
          e.add(frame.pointer(ref), e.mul(Value.first(e, head), headBytes)),
          e.mul(start, i32(step))
        )
        Values.add(frame, {
          weights: scores[0] as I,
          weightStride: scoreBytes,
          hidden,
          rowCount,
          factor: statistics.factor,
          values: vStart,
          panels: valuePanels,
          panelBytes: bytes,
          step,
          sums,
          sumStride: valueStride,
          count
        })
      }
    )

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
