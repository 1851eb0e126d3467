import * as Attr from "../Attr.ts"
import type * as Dim from "../Dim.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import type { Constraint } from "../Shape.ts"
import type { TensorType } from "../TensorType.ts"

/** Positions that are data. An index outside the axis is clamped into it: no read leaves a tensor. */

export const gather = Op.define("gather", {
  family: "index",
  summary:
    "Slices of x at the given positions of one axis (NumPy take); positions are clamped into the axis.",
  example: [
    `%0: f32[8, 32] = input {name = "table"}`,
    `%1: i32[T, S] = input {name = "bucket"}`,
    "%2: f32[8, T, S] = gather %0, %1 {axis = 1}"
  ].join("\n"),
  operands: ["x", "indices"],
  attrs: { axis: Attr.int },
  infer: (operands, { axis }) => {
    const [x, indices] = operands as readonly [TensorType, TensorType]
    Infer.requireDomain("gather", [indices], indices.dtype, "int")
    Infer.axis("gather", axis, x.shape.length)
    const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)]
    return { type: { dtype: x.dtype, shape } }
  },
  facts: { exact: true, movement: true }
})

export const load = Op.define("load", {
  family: "index",
  summary:
    "One element, at one scalar position for each axis; positions are clamped. What regions read captures with.",
  example: [
    `%0: f32[8, T, S] = input {name = "bias"}`,
    `%1: i32[] = input {name = "h"}`,
    `%2: i32[] = input {name = "i"}`,
    `%3: i32[] = input {name = "j"}`,
    "%4: f32[] = load %0, %1, %2, %3"
  ].join("\n"),
  operands: ["x", "positions..."],
  attrs: Attr.none,
  infer: (operands) => {
    const [x, ...positions] = operands
    if (x === undefined || positions.length !== x.shape.length) {
      throw Infer.shapeError("load", operands, "needs one scalar position for each axis of its first operand")
    }
    for (const p of positions) {
      if (p.shape.length !== 0 || p.dtype !== "i32")
        throw Infer.dtypeError("load", operands, "positions are i32 scalars")
    }
    return { type: { dtype: x.dtype, shape: [] } }
  },
  facts: { exact: true, movement: true }
})

export const updateSlice = Op.define("update_slice", {
  family: "index",
  summary:
    "x with `update` written from `start` on along an axis; start is a scalar, or one per entry of axis 0. Elements past the end are dropped, or wrap round.",
  example: [
    `%0: f32[B, 8, C, 64] = input {name = "cache"}`,
    `%1: f32[B, 8, T, 64] = input {name = "new"}`,
    `%2: i32[B] = input {name = "length"}`,
    "%3: f32[B, 8, C, 64] = update_slice %0, %1, %2 {axis = 2, wrap = false}"
  ].join("\n"),
  operands: ["x", "update", "start"],
  attrs: { axis: Attr.int, wrap: Attr.bool },
  infer: (operands, { axis }) => {
    const [x, update, start] = operands as readonly [TensorType, TensorType, TensorType]
    if (x.dtype !== update.dtype)
      throw Infer.dtypeError("update_slice", operands, "x and update must have one dtype", "cast one of them")
    if (start.dtype !== "i32" || start.shape.length > 1) {
      throw Infer.dtypeError("update_slice", operands, "start is an i32 scalar or an i32 vector over axis 0")
    }
    if (x.shape.length !== update.shape.length)
      throw Infer.shapeError("update_slice", operands, "x and update must have one rank")
    Infer.axis("update_slice", axis, x.shape.length)
    const constraints: Array<Constraint> = []
    x.shape.forEach((size, i) => {
      const other = update.shape[i] as Dim.Dim
      if (i !== axis)
        Infer.same("update_slice", operands, size, other, `sizes at axis ${i} must be equal`, constraints)
      else Infer.atMost("update_slice", other, size, "the update fits into the axis", constraints)
    })
    if (start.shape.length === 1) {
      if (axis === 0)
        throw Infer.attrError("update_slice", "a start for each entry of axis 0 cannot move along axis 0")
      Infer.same(
        "update_slice",
        operands,
        x.shape[0] as Dim.Dim,
        start.shape[0] as Dim.Dim,
        "one start for each entry of axis 0",
        constraints
      )
    }
    return { type: x, constraints }
  },
  facts: { exact: true, movement: true }
})

export const scatter = Op.define("scatter", {
  family: "index",
  summary:
    "x with each entry of `update` written at positions of the first axes; entries outside are dropped, and of those at one place any may stay.",
  example: [
    `%0: f32[P, 16, 8, 64] = input {name = "pool"}`,
    `%1: f32[N, 8, 64] = input {name = "new"}`,
    `%2: i32[N] = input {name = "page"}`,
    `%3: i32[N] = input {name = "row"}`,
    "%4: f32[P, 16, 8, 64] = scatter %0, %1, %2, %3"
  ].join("\n"),
  operands: ["x", "update", "positions..."],
  attrs: Attr.none,
  infer: (operands) => {
    const [x, update, ...positions] = operands as readonly [TensorType, TensorType, ...Array<TensorType>]
    if (x.dtype !== update.dtype)
      throw Infer.dtypeError("scatter", operands, "x and update must have one dtype", "cast one of them")
    const count = positions.length
    if (count === 0 || count > x.shape.length)
      throw Infer.shapeError("scatter", operands, "needs positions for one axis of its first operand or more")
    if (positions.some((p) => p.dtype !== "i32" || p.shape.length !== 1))
      throw Infer.dtypeError("scatter", operands, "positions are i32 vectors")
    const rest = x.shape.slice(count)
    if (update.shape.length !== rest.length + 1)
      throw Infer.shapeError(
        "scatter",
        operands,
        "update has an entry for each position, with the other axes of x"
      )
    const constraints: Array<Constraint> = []
    const [entries, ...own] = update.shape as readonly [Dim.Dim, ...Array<Dim.Dim>]
    for (const p of positions)
      Infer.same(
        "scatter",
        operands,
        entries,
        p.shape[0] as Dim.Dim,
        "one position for each entry",
        constraints
      )
    rest.forEach((size, i) => {
      const other = own[i] as Dim.Dim
      Infer.same("scatter", operands, size, other, `sizes at axis ${count + i} must be equal`, constraints)
    })
    return { type: x, constraints }
  },
  facts: { exact: true, movement: true }
})
