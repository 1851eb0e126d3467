import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, load, store, storeLane } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { compute } from "../emit/scalar.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"
import { type Column, type RowAnchor, type RowOp, rowOps } from "./rowOps.ts"

/**
 * Kernels that read whole rows: reductions and normalisations over any axes, of any length. An item is a row. What an op needs of
 * the elements for a second pass is kept in memory of one row, so that producers are computed once.
 */
export const rows = (job: Job): Lowered => {
  const anchor = job.anchor as RowAnchor
  const x = anchor.operands[0] as Node
  const axes = reducedAxes(anchor)
  const { shape } = x.type
  const kept = shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]))
  const sizes = (list: ReadonlyArray<number>): Shape.Shape => list.map((axis) => shape[axis] as Dim.Dim)
  const length = Shape.size(sizes(axes))
  const inner = sizes(axes).at(-1) ?? Dim.one

  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const epilogue = Epilogue.make(frame)
  let scratch: Expr<"i32"> | undefined
  // A vector for each element is more than enough, and a polynomial, which a quarter of a length is not.
  const memory = (): Expr<"i32"> => (scratch ??= frame.local(length))

  e.loop(frame.begin, frame.end, 1, (row) => {
    const rowIndices = Value.delinearize(e, Value.uniform(row), sizes(kept))

    /** Visits the columns: the index tuple of the operand, and the column's number. */
    const visit = (
      each: (indices: ReadonlyArray<Value.Value>, number: Value.Value) => void,
      width: 1 | 4
    ): void => {
      const over = (outer: ReadonlyArray<Value.Value>, base: Expr<"i32">): void => {
        const inside = (index: Expr<"i32">): void => {
          const own = [...outer, Value.along(e, index, inner)]
          const indices = shape.map((_, axis) =>
            axes.includes(axis)
              ? (own[axes.indexOf(axis)] as Value.Value)
              : (rowIndices[kept.indexOf(axis)] as Value.Value)
          )
          each(indices, Value.add(e, Value.uniform(base), Value.along(e, index, inner)))
        }
        if (width === 1) e.loop(i32(0), e.dim(inner), 1, (index) => e.at(1, () => inside(index)))
        else Frame.vectors(e, inner, Dim.value(inner), inside)
      }
      if (axes.length <= 1) {
        over([], i32(0))
        return
      }
      const outer = sizes(axes.slice(0, -1))
      e.loop(i32(0), e.dim(Shape.size(outer)), 1, (n) =>
        over(Value.delinearize(e, Value.uniform(n), outer), e.mul(n, e.dim(inner)))
      )
    }

    const columnOf = (indices: ReadonlyArray<Value.Value>, number: Value.Value): Column => ({
      get number() {
        return Value.toVector(e, number)
      },
      keep: (value) =>
        e.line(
          e.width === 4
            ? store("v128.store", place(number), value)
            : storeLane("v128.store32_lane", place(number), value, 0)
        ),
      store: (value) => epilogue(indices, Value.vector(value))
    })
    const place = (number: Value.Value): Expr<"i32"> => e.add(memory(), e.mul(Value.first(e, number), i32(4)))

    const visiting =
      (width: 1 | 4): RowOp["columns"] =>
      (inside) =>
        visit((indices, number) => {
          inside(Value.toVector(e, body.at(x, indices)), columnOf(indices, number))
        }, width)

    const context: RowOp = {
      e,
      type: compute(x.type.dtype),
      length: e.dim(length),
      columns: visiting(4),
      oneByOne: visiting(1),
      again: (inside) =>
        visit((indices, number) => {
          inside(e.now(load("v128.load", place(number))), columnOf(indices, number))
        }, 4),
      storeRow: (value) => e.at(1, () => epilogue(rowIndices, Value.vector(value)))
    }
    rowOps[anchor.op](context, anchor as never)
  })
  return frame.finish(anchor.op, { times: Dim.one, of: Shape.size(sizes(kept)), per: 1 })
}

const reducedAxes = (anchor: RowAnchor): ReadonlyArray<number> =>
  // In ascending order, so that memory is read forwards.
  "axes" in anchor.attrs ? [...anchor.attrs.axes].sort((a, b) => a - b) : [anchor.attrs.axis]
