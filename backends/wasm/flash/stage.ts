import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, op, splat, store, storeLane } from "../assembler/Instruction.ts"
import * as Frame from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"

type I = Expr<"i32">

/** Rows of elements to be copied: from the first on so many, of which those past the last are copies of it. */
export interface Staged {
  readonly first: I
  readonly count: I
  readonly last: I
  /** Elements of a row. */
  readonly width: Dim.Dim
  readonly at: (row: Value.Value, column: Value.Value) => Value.Value
  readonly to: I
  /** From one row to the next. A number is a multiple of a vector: then what is left of the last one is 0. */
  readonly step: number | I
}

/** Lays rows out as floats, in memory of the kernel. */
export const stage = ({ e }: Frame.Frame, { first, count, last, width, at, to, step }: Staged): void => {
  const known = Dim.value(width)
  const filled = typeof step === "number" && known !== undefined
  e.loop(i32(0), count, 1, (row) => {
    const start = e.add(to, e.mul(row, typeof step === "number" ? i32(step) : step))
    const source = Value.uniform(e.min(e.add(first, row), last))
    for (let gap = filled ? 16 * Math.floor(known / 4) : Infinity; gap < Number(step); gap += 16)
      e.line(store("v128.store", start, splat(0), gap))
    Frame.vectors(e, width, known, (column) => {
      const value = Value.toVector(e, at(source, Value.along(e, column, width)))
      const address = op("i32.add", start, op("i32.shl", column, i32(2)))
      e.line(
        e.width === 4
          ? store("v128.store", address, value)
          : storeLane("v128.store32_lane", address, value, 0)
      )
    })
  })
}
