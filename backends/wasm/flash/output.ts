import * as Dim from "../../../ir/Dim.ts"
import { call, type Expr, i32, op, splatF32 } from "../assembler/Instruction.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import type { Place } from "./Place.ts"
import type { Problem } from "./Problem.ts"
import * as Regions from "./regions.ts"
import { finite, greater, weight } from "./softmax.ts"

type I = Expr<"i32">
type V = Expr<"v128">

/** What a row has come to: its greatest score and the sum of weights relative to it, the same in all lanes, and sums of weighted values. */
export interface Row {
  readonly max: V
  readonly sum: V
  readonly values: (column: I) => V
}

/** Gives every result that is asked for of a row to what follows it. */
export const make = (frame: Frame.Frame, problem: Problem): ((place: Place, row: I, what: Row) => void) => {
  const { e } = frame
  const epilogues = problem.asked.map(({ job, output }) => ({ output, put: Epilogue.make(frame, job) }))
  const sink = Regions.optional(frame, problem, problem.node.attrs.sink)
  return (place, row, what) => {
    const [h, i] = [place.headOf(row), place.queryOf(row)]
    const own = [place.b, h, i]
    const extra = sink && Value.toVector(e, sink(...own)[0] as Value.Value)
    const final = problem.normalised ? normalise(frame, problem, what, extra) : undefined
    for (const { output, put } of epilogues) {
      if (output === "result") {
        Frame.vectors(e, problem.E, Dim.value(problem.E), (c) => {
          const sum = what.values(c)
          const value = e.now(final === undefined ? sum : final.quotient(sum))
          put([...own, Value.along(e, c, problem.E)], Value.vector(value))
        })
      } else if (final !== undefined) {
        const value = final[output]()
        e.at(1, () => put(own, Value.vector(value)))
      }
    }
  }
}

/** A sum of weighted values as a result, and a row's statistics. */
const normalise = (
  { e }: Frame.Frame,
  problem: Problem,
  { max: own, sum }: Row,
  extra: V | undefined
): {
  readonly quotient: (sum: V) => V
  readonly max: () => V
  readonly sum: () => V
  readonly lse: () => V
} => {
  const max = extra === undefined ? own : e.now(greater(problem, own, extra))
  const base = finite(e, max)
  const rescale = extra === undefined ? undefined : e.now(weight(e, problem, finite(e, own), base))
  const total =
    extra === undefined || rescale === undefined
      ? sum
      : e.now(op("f32x4.add", op("f32x4.mul", sum, rescale), weight(e, problem, extra, base)))
  const some = e.now(op("f32x4.ne", total, splatF32(0)))
  const inverse = op("f32x4.div", rescale ?? splatF32(1), total)
  // Without any key there is nothing that a sink of NaN could be the weight of.
  const hasKeys = op("i32.sub", i32(0), op("i32.ne", e.dim(problem.S), i32(0)))
  const isSome = extra === undefined ? some : op("v128.and", some, op("i32x4.splat", hasKeys))
  const factor = e.now(op("v128.and", inverse, isSome))
  return {
    quotient: (x) => op("f32x4.mul", x, factor),
    max: () => max,
    sum: () => total,
    lse: () => {
      const value = op("f32x4.add", base, call(e.unit.helper("log"), total))
      const finite = op("v128.bitselect", value, splatF32(-Infinity), some)
      return e.now(op("v128.bitselect", max, finite, op("f32x4.eq", max, splatF32(Infinity))))
    }
  }
}
