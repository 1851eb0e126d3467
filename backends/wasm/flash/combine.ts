import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, load, op, splat, splatF32, store } from "../assembler/Instruction.ts"
import * as Frame from "../emit/Frame.ts"
import { madd } from "../emit/math.ts"
import type { Lowered, Ref } from "../Job.ts"
import { nameOf } from "./attend.ts"
import { part, partBytes, splits } from "./decode.ts"
import { turns, visibleFrom } from "./hidden.ts"
import * as Output from "./output.ts"
import * as Place from "./Place.ts"
import type { Problem } from "./Problem.ts"
import { finite, greater, weight } from "./softmax.ts"
import type { Tiles } from "./Tiles.ts"

type I = Expr<"i32">

/** Parts that there are of a row, roughly. */
const usual = 16

/** Puts together what the divided keys of a row have come to, in their order. */
export const combine = (problem: Problem, parts: Ref, tiles: Tiles): Lowered => {
  const R = Dim.mul(problem.T, problem.group)
  const frame = Frame.open(problem.job)
  const { e } = frame
  const put = Output.make(frame, problem)
  const rowCount = e.dim(R)
  const many = e.mul(splits(frame, problem, tiles), i32(turns(problem)))
  const bytes = partBytes(problem)
  const apart = e.mul(rowCount, i32(bytes))

  e.loop(frame.begin, frame.end, 1, (item) => {
    const pair = e.div(item, rowCount)
    const row = e.sub(item, e.mul(pair, rowCount))
    const first = e.add(e.mul(e.mul(pair, many), apart), e.mul(row, i32(bytes)))
    const start = e.add(frame.pointer(parts), first)
    const each = (inside: (at: I, n: I) => void): void =>
      e.loop(i32(0), many, 1, (n) => inside(e.add(start, e.mul(n, apart)), n))
    const max = e.variable(splatF32(-Infinity))
    const sum = e.variable(splat(0))
    if (problem.normalised) {
      each((at) => max.set(greater(problem, max.value, load("v128.load", at, part.max))))
      const base = finite(e, max.value)
      const isOpen =
        problem.fill === undefined ? undefined : e.now(op("v128.not", visibleFrom(problem, max.value)))
      each((at, n) => {
        const own = e.now(load("v128.load", at, part.max))
        const factor = e.now(weight(e, problem, finite(e, own), base))
        const total = load("v128.load", at, part.sum)
        // Every other part is of masked keys.
        const isVisible = op("i32x4.splat", op("i32.sub", op("i32.and", n, i32(1)), i32(1)))
        const taken = isOpen && e.now(op("v128.or", isOpen, isVisible))
        sum.set(madd(e, taken === undefined ? total : op("v128.and", total, taken), factor, sum.value))
        // In place of the maximum and the sum, which nobody reads any more.
        e.line(store("v128.store", at, factor, part.max))
        if (taken !== undefined) e.line(store("v128.store", at, taken, part.sum))
      })
    }
    put(Place.of(e, problem, pair, row, i32(1)), i32(0), {
      max: e.now(max.value),
      sum: e.now(sum.value),
      values: (column) => {
        const total = e.variable(splat(0))
        const offset = e.mul(column, i32(4))
        each((at) => {
          const all = e.now(load("v128.load", op("i32.add", at, offset), part.values))
          const own = problem.fill === undefined ? all : op("v128.and", all, load("v128.load", at, part.sum))
          total.set(
            problem.normalised
              ? madd(e, own, load("v128.load", at, part.max), total.value)
              : op("f32x4.add", own, total.value)
          )
        })
        return e.now(total.value)
      }
    })
  })
  const { B, Hkv, E } = problem
  return {
    ...frame.finish(nameOf("combine", problem), { times: Dim.mul(B, Hkv), of: R, per: 1 }),
    work: [[B, Hkv, R, E, Dim.constant(usual)]]
  }
}
