import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, op, splat, store, storeLane } from "../assembler/Instruction.ts"
import * as Frame from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import { transposed } from "../kernels/pack.ts"

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
  /** Whether the elements of neighbouring rows lie side by side: then four rows are read together, up to three more than there are. */
  readonly across?: boolean
}

/** Lays rows out as floats, in memory of the kernel. */
export const stage = ({ e }: Frame.Frame, staged: Staged): void => {
  const { first, count, last, width, at, to, step } = staged
  const known = Dim.value(width)
  const filled = typeof step === "number" && known !== undefined
  const placeOf = (row: I): I => e.add(to, e.mul(row, typeof step === "number" ? i32(step) : step))
  const fill = (start: I): void => {
    for (let gap = filled ? 16 * Math.floor(known / 4) : Infinity; gap < Number(step); gap += 16)
      e.line(store("v128.store", start, splat(0), gap))
  }
  const put = (start: I, column: I, value: Expr<"v128">, lane?: number): void => {
    const address = op("i32.add", start, op("i32.shl", column, i32(2)))
    e.line(
      lane === undefined
        ? store("v128.store", address, value)
        : storeLane("v128.store32_lane", address, value, lane)
    )
  }
  const one = (row: I): void => {
    const start = placeOf(row)
    const source = Value.uniform(e.min(e.add(first, row), last))
    fill(start)
    Frame.vectors(e, width, known, (column) => {
      const value = Value.toVector(e, at(source, Value.along(e, column, width)))
      put(start, column, value, e.width === 4 ? undefined : 0)
    })
  }
  if (staged.across !== true) {
    e.loop(i32(0), count, 1, one)
    return
  }
  const four = (row: I): void => {
    const starts = [0, 1, 2, 3].map((n) => placeOf(e.add(row, i32(n))))
    const rows: Value.Value = { _tag: "affine", base: e.add(first, row), step: 1, align: 4 }
    const read = (column: I, n: number): Expr<"v128"> =>
      Value.toVector(e, at(rows, Value.uniform(e.add(column, i32(n)))))
    starts.forEach(fill)
    const whole = e.bind(op("i32.and", e.dim(width), i32(-4)))
    e.loop(i32(0), whole, 4, (column) => {
      const all = transposed(e, [read(column, 0), read(column, 1), read(column, 2), read(column, 3)])
      all.forEach((value, n) => void put(starts[n] as I, column, value))
    })
    e.loop(whole, e.dim(width), 1, (column) => {
      const value = read(column, 0)
      starts.forEach((start, n) => void put(start, column, value, n))
    })
  }
  // The first row is the first of a panel.
  e.loop(i32(0), count, 4, (row) =>
    e.branch(
      e.bind(op("i32.le_s", e.add(e.add(first, row), i32(3)), last)),
      () => four(row),
      () => e.loop(row, e.min(e.add(row, i32(4)), count), 1, one)
    )
  )
}
