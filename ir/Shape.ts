import * as Dim from "./Dim.ts"
import type { Location } from "./errors.ts"

/** Sizes, outermost axis first. Rank 0 is a scalar. */
export type Shape = ReadonlyArray<Dim.Dim>

/** What a shape rule assumed about two sizes without proof: checked when symbols are bound. */
export interface Constraint {
  readonly left: Dim.Dim
  readonly relation: "=" | "<="
  readonly right: Dim.Dim
  /** What needs it, for the message: `dot contracts lhs axis 3 with rhs axis 2`. */
  readonly reason: string
  /** The line that wrote the node that needs it. */
  readonly at?: Location | undefined
}

export const from = (dims: ReadonlyArray<Dim.DimLike>): Shape => dims.map(Dim.from)

export const print = (shape: Shape): string => `[${shape.map(Dim.print).join(", ")}]`

export const equals = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((d, i) => Dim.equals(d, b[i] as Dim.Dim))

/** Number of elements. */
export const size = (shape: Shape): Dim.Dim => Dim.product(shape)

export const evaluate = (shape: Shape, bindings: Dim.Bindings): ReadonlyArray<number> =>
  shape.map((d) => Dim.evaluate(d, bindings))

export const symbols = (shape: Shape): ReadonlyArray<string> =>
  [...new Set(shape.flatMap(Dim.symbols))].sort()

/** The sizes as numbers, where every one of them is constant. */
export const constants = (shape: Shape): ReadonlyArray<number> | undefined => {
  const values = shape.map(Dim.value)
  return values.every((v) => v !== undefined) ? (values as ReadonlyArray<number>) : undefined
}

/** Row-major strides in elements, for sizes that are known. */
export const strides = (sizes: ReadonlyArray<number>): ReadonlyArray<number> => {
  const result = new Array<number>(sizes.length)
  let step = 1
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    result[axis] = step
    step *= sizes[axis] as number
  }
  return result
}

/** Row-major strides in elements, as polynomials. */
export const dimStrides = (shape: Shape): Shape => {
  const result = new Array<Dim.Dim>(shape.length)
  let step = Dim.one
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    result[axis] = step
    step = Dim.mul(step, shape[axis] as Dim.Dim)
  }
  return result
}
