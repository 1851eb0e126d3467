import * as Dim from "./Dim.ts"
import * as DType from "./DType.ts"
import { AttrError, DTypeError, ShapeError } from "./errors.ts"
import type { Inferred } from "./Op.ts"
import type * as Shape from "./Shape.ts"
import * as TensorType from "./TensorType.ts"

/** Building blocks of shape rules. Each takes the op's name, so that a message says who refused. */

const listed = (operands: ReadonlyArray<TensorType.TensorType>): string =>
  operands.map(TensorType.print).join(" and ")

export const shapeError = (
  op: string,
  operands: ReadonlyArray<TensorType.TensorType>,
  why: string,
  hint?: string
): ShapeError =>
  new ShapeError({
    op,
    message: `${op}: ${why}, given ${listed(operands)}`,
    ...(hint === undefined ? {} : { hint })
  })

export const dtypeError = (
  op: string,
  operands: ReadonlyArray<TensorType.TensorType>,
  why: string,
  hint?: string
): DTypeError =>
  new DTypeError({
    op,
    message: `${op}: ${why}, given ${listed(operands)}`,
    ...(hint === undefined ? {} : { hint })
  })

export const attrError = (op: string, why: string, hint?: string): AttrError =>
  new AttrError({ op, message: `${op}: ${why}`, ...(hint === undefined ? {} : { hint }) })

/** Requires `axis` in 0..rank-1. Axes in the IR are never negative; `Tensor` normalises what a person writes. */
export const axis = (op: string, axis: number, rank: number, what = "axis"): number => {
  if (!Number.isInteger(axis) || axis < 0 || axis >= rank) {
    throw attrError(
      op,
      `${what} ${axis} is outside a tensor of rank ${rank}`,
      `use an axis from 0 to ${rank - 1}`
    )
  }
  return axis
}

/** Requires distinct axes, each within the rank. */
export const axes = (
  op: string,
  axes: ReadonlyArray<number>,
  rank: number,
  what = "axes"
): ReadonlyArray<number> => {
  for (const a of axes) axis(op, a, rank, what)
  if (new Set(axes).size !== axes.length) throw attrError(op, `${what} [${axes.join(", ")}] repeat an axis`)
  return axes
}

/** Two sizes that must be one: proven, refused, or assumed with a constraint that is checked at run time. */
export const same = (
  op: string,
  operands: ReadonlyArray<TensorType.TensorType>,
  left: Dim.Dim,
  right: Dim.Dim,
  reason: string,
  into: Array<Shape.Constraint>
): Dim.Dim => {
  if (Dim.equals(left, right)) return left
  if (!Dim.canEqual(left, right)) {
    throw shapeError(op, operands, `${reason}, but ${Dim.print(left)} is not ${Dim.print(right)}`)
  }
  into.push({ left, relation: "=", right, reason: `${op}: ${reason}` })
  // A constant says more than a symbol.
  return Dim.isConstant(right) ? right : left
}

/** `left <= right`: proven, refused where both are constant, or assumed with a constraint. */
export const atMost = (
  op: string,
  left: Dim.Dim,
  right: Dim.Dim,
  reason: string,
  into: Array<Shape.Constraint>
): void => {
  const difference = Dim.value(Dim.sub(right, left))
  if (difference === undefined) into.push({ left, relation: "<=", right, reason: `${op}: ${reason}` })
  else if (difference < 0)
    throw attrError(op, `${reason}, but ${Dim.print(left)} exceeds ${Dim.print(right)}`)
}

/**
 * NumPy broadcasting: shapes are aligned at their last axes and a size of literally 1 stretches. Two different
 * symbols are taken to be equal (checked at run time); a symbol bound to 1 never stretches, since one kernel serves all lengths.
 */
export const broadcast = (
  op: string,
  operands: ReadonlyArray<TensorType.TensorType>,
  constraints: Array<Shape.Constraint>
): Shape.Shape => {
  const rank = Math.max(0, ...operands.map(TensorType.rank))
  const result: Array<Dim.Dim> = []
  for (let axis = 0; axis < rank; axis++) {
    let size = Dim.one
    for (const { shape } of operands) {
      const own = shape[axis - rank + shape.length]
      if (own === undefined || Dim.isOne(own)) continue
      size = Dim.isOne(size)
        ? own
        : same(op, operands, size, own, `sizes at axis ${axis - rank} must be equal or 1`, constraints)
    }
    result.push(size)
  }
  return result
}

const sameDType = (op: string, operands: ReadonlyArray<TensorType.TensorType>): DType.DType => {
  const first = (operands[0] as TensorType.TensorType).dtype
  if (operands.some((o) => o.dtype !== first)) {
    throw dtypeError(op, operands, "operands must have one dtype", "cast one of them")
  }
  return first
}

type Domain = "float" | "number" | "int" | "bool" | "logic" | "any"

const inDomain: { readonly [D in Domain]: (d: DType.DType) => boolean } = {
  float: DType.isFloat,
  number: (d) => d !== "bool",
  int: DType.isInt,
  bool: (d) => d === "bool",
  logic: (d) => d === "bool" || DType.isInt(d),
  any: () => true
}

export const requireDomain = (
  op: string,
  operands: ReadonlyArray<TensorType.TensorType>,
  dtype: DType.DType,
  domain: Domain
): void => {
  if (!inDomain[domain](dtype)) throw dtypeError(op, operands, `takes ${domain} operands`)
}

/** Shape rule of an elementwise op: one dtype in the domain, broadcast shapes; `result` overrides the dtype. */
export const elementwise =
  (op: string, domain: Domain, result?: DType.DType) =>
  (operands: ReadonlyArray<TensorType.TensorType>): Inferred => {
    const dtype = sameDType(op, operands)
    requireDomain(op, operands, dtype, domain)
    const constraints: Array<Shape.Constraint> = []
    const shape = broadcast(op, operands, constraints)
    return { type: { dtype: result ?? dtype, shape }, constraints }
  }

/** Drops `axes` from a shape. */
export const without = (shape: Shape.Shape, axes: ReadonlyArray<number>): Shape.Shape =>
  shape.filter((_, axis) => !axes.includes(axis))

/** Replaces the size of one axis. */
export const withAxis = (shape: Shape.Shape, axis: number, size: Dim.Dim): Shape.Shape =>
  shape.map((d, i) => (i === axis ? size : d))
