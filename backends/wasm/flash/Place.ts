import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32 } from "../assembler/Instruction.ts"
import type { Emitter } from "../emit/Emitter.ts"
import * as Value from "../emit/Value.ts"
import type { Problem } from "./Problem.ts"

type I = Expr<"i32">

/** Rows that share a key/value head: which they are, and how many. */
export interface Place {
  readonly b: Value.Affine
  readonly keyHead: Value.Affine
  /** Number of the batch entry and key/value head. */
  readonly pair: I
  /** The first of the query heads that share the keys. */
  readonly firstHead: I
  readonly first: I
  readonly rowCount: I
  /** The query head and the query of a row, counted from the first. */
  readonly headOf: (row: I) => Value.Affine
  readonly queryOf: (row: I) => Value.Affine
}

export const of = (e: Emitter, problem: Problem, pair: I, first: I, rowCount: I): Place => {
  const group = e.dim(problem.group)
  const [b, keyHead] = Value.delinearize(e, Value.uniform(pair), [problem.B, problem.Hkv]) as [
    Value.Affine,
    Value.Affine
  ]
  const firstHead = e.mul(keyHead.base, group)
  const queryOf = (row: I): I => e.div(e.add(first, row), group)
  return {
    b,
    keyHead,
    pair,
    firstHead,
    first,
    rowCount,
    queryOf: (row) => Value.uniform(queryOf(row)),
    headOf: (row) => {
      const inGroup = e.sub(e.add(first, row), e.mul(queryOf(row), group))
      return Value.uniform(e.add(firstHead, Dim.isOne(problem.group) ? i32(0) : inGroup))
    }
  }
}

/** Some rows of a place. */
export const from = (e: Emitter, problem: Problem, { pair, first }: Place, row: I, rowCount: I): Place =>
  of(e, problem, pair, e.add(first, row), rowCount)
