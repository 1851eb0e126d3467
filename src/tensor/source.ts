import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import type { At, AxisFits } from "./axes.ts"
import type { Dims, Size } from "./dims.ts"
import { broadcastNode, type SizesOf, shapeOf, sizeOf } from "./movement.ts"
import { castNode, scalar, tensorNode } from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, isTensor, type Tensor } from "./Tensor.ts"

/** Tensors that come from nothing but numbers, lengths and positions. */

const checkDType = (op: string, dtype: DType.DType): DType.DType => {
  if (DType.isDType(dtype)) return dtype
  throw Site.dtypeError(
    op,
    `there is no element type ${JSON.stringify(dtype)}`,
    `use one of ${DType.all.join(", ")}`
  )
}

const fullNode = (
  op: string,
  shape: ReadonlyArray<Dim.DimLike>,
  value: number | boolean,
  dtype: DType.DType
): IRNode.Node => broadcastNode(scalar(value, checkDType(op, dtype)), shapeOf(op, shape))

type Filled = <const P extends ReadonlyArray<Dim.DimLike>, D extends DType.DType = "f32">(
  shape: P,
  dtype?: D
) => Tensor<D, SizesOf<P>>

/** One value everywhere; f32 unless told otherwise. */
export const full: <const P extends ReadonlyArray<Dim.DimLike>, D extends DType.DType = "f32">(
  shape: P,
  value: number | boolean,
  dtype?: D
) => Tensor<D, SizesOf<P>> = Site.dual(
  () => true,
  (shape: ReadonlyArray<Dim.DimLike>, value: number | boolean, dtype: DType.DType = "f32") =>
    fromNode(fullNode("full", shape, value, dtype))
)

export const zeros: Filled = Site.dual(
  () => true,
  (shape: ReadonlyArray<Dim.DimLike>, dtype: DType.DType = "f32") =>
    fromNode(fullNode("zeros", shape, 0, dtype))
)

export const ones: Filled = Site.dual(
  () => true,
  (shape: ReadonlyArray<Dim.DimLike>, dtype: DType.DType = "f32") =>
    fromNode(fullNode("ones", shape, 1, dtype))
)

/** A scalar; f32 unless told otherwise. Arithmetic takes plain numbers too, and then keeps the dtype of the tensor. */
export const constant: <D extends DType.DType = "f32">(
  value: number | boolean,
  dtype?: D
) => Tensor<D, readonly []> = Site.dual(
  () => true,
  (value: number | boolean, dtype: DType.DType = "f32") =>
    fromNode(scalar(value, checkDType("constant", dtype)))
)

/** Numbers or bools, nested as deep as there are axes. */
export type Nested = number | boolean | ReadonlyArray<Nested>

/** The shape of nested lists, as far as their types tell. */
type NestedDims<V> = [V] extends [number | boolean]
  ? readonly []
  : [V] extends [ReadonlyArray<infer A>]
    ? [A] extends [number | boolean]
      ? readonly [Counted<V>]
      : [A] extends [ReadonlyArray<infer B>]
        ? [B] extends [number | boolean]
          ? readonly [Counted<V>, Counted<A>]
          : Dims
        : Dims
    : Dims

type Counted<V> = V extends { readonly length: infer N extends number } ? (number extends N ? Size : N) : Size

/** Sizes and elements of nested lists; ragged ones are refused. */
const unnest = (
  value: Nested
): { readonly sizes: ReadonlyArray<number>; readonly values: ReadonlyArray<number> } => {
  const sizes: Array<number> = []
  for (let at: Nested | undefined = value; Array.isArray(at); at = at[0]) sizes.push(at.length)
  const values: Array<number> = []
  const visit = (part: Nested, depth: number): void => {
    if (!Array.isArray(part)) {
      if (depth === sizes.length && (typeof part === "number" || typeof part === "boolean")) {
        values.push(Number(part))
        return
      }
    } else if (part.length === sizes[depth]) {
      part.forEach((inner) => {
        visit(inner, depth + 1)
      })
      return
    }
    throw Site.shapeError(
      "fromValues",
      `the lists do not form a shape: expected [${sizes.join(", ")}]`,
      "lists of one depth have one length, and hold numbers or bools"
    )
  }
  visit(value, 0)
  return { sizes, values }
}

/**
 * A constant from nested lists: `fromValues([[1, 2], [3, 4]])`. f32 unless told otherwise. For large data pass an argument
 * instead: a constant is part of the program.
 */
export const fromValues: <const V extends Nested, D extends DType.DType = "f32">(
  values: V,
  dtype?: D
) => Tensor<D, NestedDims<V>> = Site.dual(
  () => true,
  (nested: Nested, dtype: DType.DType = "f32") => {
    const { sizes, values } = unnest(nested)
    const type = { dtype: checkDType("fromValues", dtype), shape: sizes.map(Dim.constant) }
    return fromNode(Site.emit("constant", [], { values, type }))
  }
)

export const iotaNode = (size: Dim.Dim): IRNode.Node =>
  Site.emit("iota", [], { type: { dtype: "i32", shape: [size] } })

export const dimNode = (value: Dim.Dim): IRNode.Node => {
  const known = Dim.value(value)
  return known === undefined ? Site.emit("dim", [], { value }) : scalar(known, "i32")
}

type SizeOf<P extends Dim.DimLike> = SizesOf<readonly [P]>[0]

/** 0, 1, 2, … up to a size, as i32. */
export const iota: <const P extends Dim.DimLike>(size: P) => Tensor<"i32", readonly [SizeOf<P>]> = Site.dual(
  () => true,
  (size: Dim.DimLike) => fromNode(iotaNode(sizeOf("iota", size)))
)

/** Evenly spaced numbers: `arange(stop)`, `arange(start, stop)`, `arange(start, stop, step)`; i32 where all are whole, else f32. */
export const arange: {
  <const P extends Dim.DimLike>(stop: P): Tensor<"i32", readonly [SizeOf<P>]>
  (start: number, stop: number, step?: number): Tensor<"i32" | "f32", readonly [Size]>
} = Site.dual(
  () => true,
  (first: Dim.DimLike, stop?: number, step = 1) => {
    if (stop === undefined) return fromNode(iotaNode(sizeOf("arange", first)))
    if (
      typeof first !== "number" ||
      !Number.isFinite(first) ||
      !Number.isFinite(stop) ||
      !Number.isFinite(step) ||
      step === 0
    ) {
      throw Site.attrError(
        "arange",
        "start, stop and step are finite numbers, and the step is not 0",
        "add to Tensor.iota(size) where a length is a symbol"
      )
    }
    const steps = iotaNode(Dim.constant(Math.max(0, Math.ceil((stop - first) / step))))
    const dtype = Number.isInteger(first) && Number.isInteger(step) ? "i32" : "f32"
    const scaled = Site.emit("mul", [castNode(steps, dtype), scalar(step, dtype)], {})
    return fromNode(Site.emit("add", [scaled, scalar(first, dtype)], {}))
  }
)

/** A whole number, a length, or a polynomial of lengths, as an i32 scalar; negative ones too. */
export const lengthNode = (op: string, value: Dim.DimLike): IRNode.Node => {
  const whole = typeof value === "number" && Number.isSafeInteger(value) ? Dim.constant(value) : undefined
  const found = typeof value === "string" ? Dim.parse(value) : Dim.isDim(value) ? value : whole
  if (found !== undefined) return dimNode(found)
  throw Site.shapeError(
    op,
    `${JSON.stringify(value)} is not a polynomial of lengths`,
    'write names and whole numbers: "S - T"'
  )
}

/** A length, or a polynomial of lengths such as `"S - T"`, as an i32 scalar. */
export const dim: (value: Dim.DimLike) => Tensor<"i32", readonly []> = Site.dual(
  () => true,
  (value: Dim.DimLike) => fromNode(lengthNode("dim", value))
)

/** The size of an axis as an i32 scalar; of all elements without `axis`. */
export const size: {
  (axis?: number): (x: Tensor) => Tensor<"i32", readonly []>
  (x: Tensor, axis?: number): Tensor<"i32", readonly []>
} = Site.dual(
  (args) => isTensor(args[0]),
  (x: Tensor, axis?: number) => {
    const { shape } = tensorNode("size", x).type
    return fromNode(
      dimNode(axis === undefined ? Dim.product(shape) : Site.sizeAt(shape, Site.axisOf("size", axis, shape)))
    )
  }
)

/** 0, 1, 2, … along an axis of `x`, as i32: its positions. */
export const positions: {
  <const N extends number>(
    axis: N
  ): <S extends Dims>(
    x: Tensor<DType.DType, S> & AxisFits<S, N, "positions">
  ) => Tensor<"i32", readonly [At<S, N>]>
  <S extends Dims, const N extends number>(
    x: Tensor<DType.DType, S>,
    axis: N & AxisFits<S, N, "positions">
  ): Tensor<"i32", readonly [At<S, N>]>
} = Site.dual(
  (args) => isTensor(args[0]),
  (x: Tensor, axis: number) => {
    const { shape } = tensorNode("positions", x).type
    return fromNode(iotaNode(Site.sizeAt(shape, Site.axisOf("positions", axis, shape))))
  }
)

type Triangle = {
  (diagonal?: number): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<D, S>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>, diagonal?: number): Tensor<D, S>
}

const triangle = (op: "tril" | "triu", compare: "le" | "ge"): Triangle =>
  Site.dual(
    (args) => isTensor(args[0]),
    (x: Tensor, diagonal = 0) => {
      const node = tensorNode(op, x)
      const { shape, dtype } = node.type
      if (shape.length < 2)
        throw Site.shapeError(op, `needs two axes, given ${Site.list([node])}`, "reshape to a matrix")
      if (!Number.isSafeInteger(diagonal))
        throw Site.attrError(op, `${diagonal} is not a diagonal`, "use a whole number: 0 is the main one")
      const [rows, columns] = [Site.sizeAt(shape, shape.length - 2), Site.sizeAt(shape, shape.length - 1)]
      const i = Site.emit("reshape", [iotaNode(rows)], { shape: [rows, Dim.one] })
      const last = diagonal === 0 ? i : Site.emit("add", [i, scalar(diagonal, "i32")], {})
      const keep = Site.emit(compare, [iotaNode(columns), last], {})
      return fromNode(Site.emit("select", [keep, node, scalar(0, dtype)], {}))
    }
  )

/** The last two axes with 0 above a diagonal: elements with column ≤ row + diagonal stay. */
export const tril = triangle("tril", "le")
/** The last two axes with 0 below a diagonal: elements with column ≥ row + diagonal stay. */
export const triu = triangle("triu", "ge")
