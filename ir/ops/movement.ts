import * as Attr from "../Attr.ts"
import * as Dim from "../Dim.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import * as Shape from "../Shape.ts"
import type { TensorType } from "../TensorType.ts"

/** Elements move, repeat or disappear; none is computed. A backend folds these into addressing. */

export const reshape = Op.define("reshape", {
  family: "movement",
  summary: "The same elements in row-major order under another shape.",
  example: `%0: f32[B, 8, S, 64] = input {name = "k"}\n%1: f32[B, 8, 1, S, 64] = reshape %0`,
  operands: ["x"],
  attrs: { shape: Attr.resultShape },
  infer: (operands, { shape }) => {
    const x = operands[0] as TensorType
    const constraints: Array<Shape.Constraint> = []
    Infer.same(
      "reshape",
      operands,
      Shape.size(x.shape),
      Shape.size(shape),
      `${Shape.print(shape)} must hold the same number of elements`,
      constraints
    )
    return { type: { dtype: x.dtype, shape }, constraints }
  },
  facts: { exact: true, movement: true }
})

export const transpose = Op.define("transpose", {
  family: "movement",
  summary: "Axes in another order: result axis i is operand axis perm[i].",
  example: `%0: f32[B, S, 8, 64] = input {name = "k"}\n%1: f32[B, 8, S, 64] = transpose %0 {perm = [0, 2, 1, 3]}`,
  operands: ["x"],
  attrs: { perm: Attr.ints },
  infer: (operands, { perm }) => {
    const x = operands[0] as TensorType
    if (perm.length !== x.shape.length) {
      throw Infer.attrError(
        "transpose",
        `perm [${perm.join(", ")}] does not order the ${x.shape.length} axes of ${Shape.print(x.shape)}`
      )
    }
    Infer.axes("transpose", perm, x.shape.length, "perm")
    return { type: { dtype: x.dtype, shape: perm.map((a) => x.shape[a] as Dim.Dim) } }
  },
  facts: { exact: true, movement: true }
})

export const broadcast = Op.define("broadcast", {
  family: "movement",
  summary: "NumPy broadcast: aligned at the last axis, sizes of 1 stretch, new axes come first.",
  example: `%0: f32[B, 8, 1, S, 64] = input {name = "k"}\n%1: f32[B, 8, 4, S, 64] = broadcast %0`,
  operands: ["x"],
  attrs: { shape: Attr.resultShape },
  infer: (operands, { shape }) => {
    const x = operands[0] as TensorType
    if (x.shape.length > shape.length) {
      throw Infer.shapeError("broadcast", operands, `cannot drop axes to reach ${Shape.print(shape)}`)
    }
    const constraints: Array<Shape.Constraint> = []
    x.shape.forEach((own, i) => {
      const target = shape[i + shape.length - x.shape.length] as Dim.Dim
      if (!Dim.isOne(own)) {
        Infer.same(
          "broadcast",
          operands,
          own,
          target,
          `axis ${i} must be 1 or reach ${Shape.print(shape)}`,
          constraints
        )
      }
    })
    return { type: { dtype: x.dtype, shape }, constraints }
  },
  facts: { exact: true, movement: true }
})

export const slice = Op.define("slice", {
  family: "movement",
  summary: "Elements start, start + step, … before stop, on every axis.",
  example: `%0: f32[T, 65] = input {name = "x"}\n%1: f32[T, 64] = slice %0 {starts = [0, 0], stops = [T, 64], steps = [1, 1]}`,
  operands: ["x"],
  attrs: { starts: Attr.dims, stops: Attr.dims, steps: Attr.ints },
  infer: (operands, { starts, stops, steps }) => {
    const x = operands[0] as TensorType
    if ([starts, stops, steps].some((list) => list.length !== x.shape.length)) {
      throw Infer.attrError(
        "slice",
        `starts, stops and steps need one entry for each axis of ${Shape.print(x.shape)}`
      )
    }
    const constraints: Array<Shape.Constraint> = []
    const shape = x.shape.map((size, axis) => {
      const [start, stop, step] = [starts[axis] as Dim.Dim, stops[axis] as Dim.Dim, steps[axis] as number]
      if (!Number.isInteger(step) || step < 1)
        throw Infer.attrError("slice", `step ${step} on axis ${axis} is not 1 or more`)
      Infer.atMost("slice", Dim.zero, start, `axis ${axis} starts at 0 or later`, constraints)
      Infer.atMost("slice", start, stop, `axis ${axis} stops no earlier than it starts`, constraints)
      Infer.atMost("slice", stop, size, `axis ${axis} stops within its size`, constraints)
      const length = Dim.sub(stop, start)
      if (step === 1) return length
      const known = Dim.value(length)
      const count =
        known === undefined
          ? Dim.divideExact(length, Dim.constant(step))
          : Dim.constant(Math.ceil(known / step))
      if (count === undefined) {
        throw Infer.attrError(
          "slice",
          `${Dim.print(length)} elements do not divide into steps of ${step}`,
          "use a size that is a multiple of the step"
        )
      }
      return count
    })
    return { type: { dtype: x.dtype, shape }, constraints }
  },
  facts: { exact: true, movement: true }
})

export const concat = Op.define("concat", {
  family: "movement",
  summary: "Tensors one after the other along an axis.",
  example: `%0: f32[P, 64] = input {name = "past"}\n%1: f32[T, 64] = input {name = "new"}\n%2: f32[P + T, 64] = concat %0, %1 {axis = 0}`,
  operands: ["parts..."],
  attrs: { axis: Attr.int },
  infer: (operands, { axis }) => {
    const [first, ...rest] = operands
    if (first === undefined) throw Infer.attrError("concat", "needs at least one operand")
    Infer.axis("concat", axis, first.shape.length)
    const constraints: Array<Shape.Constraint> = []
    let shape = first.shape
    for (const part of rest) {
      if (part.dtype !== first.dtype)
        throw Infer.dtypeError("concat", operands, "operands must have one dtype", "cast one of them")
      if (part.shape.length !== first.shape.length)
        throw Infer.shapeError("concat", operands, "operands must have one rank")
      shape = shape.map((size, i) =>
        i === axis
          ? Dim.add(size, part.shape[i] as Dim.Dim)
          : Infer.same(
              "concat",
              operands,
              size,
              part.shape[i] as Dim.Dim,
              `sizes at axis ${i} must be equal`,
              constraints
            )
      )
    }
    return { type: { dtype: first.dtype, shape }, constraints }
  },
  facts: { exact: true, movement: true }
})

export const pad = Op.define("pad", {
  family: "movement",
  summary: "A constant before and after the elements, on every axis.",
  example: `%0: f32[T, 3] = input {name = "x"}\n%1: f32[T, 4] = pad %0 {low = [0, 0], high = [0, 1], value = 0}`,
  operands: ["x"],
  attrs: { low: Attr.dims, high: Attr.dims, value: Attr.number },
  infer: (operands, { low, high }) => {
    const x = operands[0] as TensorType
    if (low.length !== x.shape.length || high.length !== x.shape.length) {
      throw Infer.attrError("pad", `low and high need one entry for each axis of ${Shape.print(x.shape)}`)
    }
    const constraints: Array<Shape.Constraint> = []
    const shape = x.shape.map((size, axis) => {
      const [before, after] = [low[axis] as Dim.Dim, high[axis] as Dim.Dim]
      Infer.atMost("pad", Dim.zero, before, `axis ${axis} is padded by 0 or more`, constraints)
      Infer.atMost("pad", Dim.zero, after, `axis ${axis} is padded by 0 or more`, constraints)
      return Dim.add(before, Dim.add(size, after))
    })
    return { type: { dtype: x.dtype, shape }, constraints }
  },
  facts: { exact: true, movement: true }
})
