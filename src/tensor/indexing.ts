import * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import type { AxisFits } from "./axes.ts"
import type { Blank, Dims, HasRank, Size } from "./dims.ts"
import { broadcastNode, reshapeNode, sizeOf } from "./movement.ts"
import { castNode, scalar, tensorNode } from "./operand.ts"
import * as Site from "./Site.ts"
import { dimNode, iotaNode, lengthNode } from "./source.ts"
import { fromNode, isTensor, nodeOf, type Tensor } from "./Tensor.ts"

/** Positions that are data. A position past the end of an axis reads its last entry, one before the start its first. */

type Taken<S extends Dims, I extends Dims> = [HasRank<S>, HasRank<I>] extends [true, true]
  ? S extends readonly [Size, ...infer R extends Dims]
    ? Blank<readonly [...I, ...R]>
    : Dims
  : Dims

type Positions = Tensor<"i32" | "u32">

type IndexDims<I> = I extends { readonly shape: infer S extends Dims }
  ? S
  : I extends number
    ? readonly []
    : readonly [Size]

const positionsNode = (
  op: string,
  x: IRNode.Node,
  axis: number,
  indices: Positions | number | ReadonlyArray<number>
): IRNode.Node => {
  if (isTensor(indices)) return nodeOf(indices)
  const size = Site.sizeAt(x.type.shape, axis)
  const known = Dim.value(size)
  const list = typeof indices === "number" ? [indices] : indices
  for (const i of list) {
    const inside = Number.isSafeInteger(i) && (known === undefined || (i >= -known && i < known))
    if (!inside) {
      throw Site.attrError(
        op,
        `position ${i} is outside axis ${axis} of ${Site.list([x])}`,
        "positions count from 0, or from -1 at the end"
      )
    }
  }
  if (typeof indices === "number") {
    return indices < 0 ? dimNode(Dim.add(size, Dim.constant(indices))) : scalar(indices, "i32")
  }
  const shape = [Dim.constant(list.length)]
  if (known !== undefined || list.every((i) => i >= 0)) {
    return Site.emit("constant", [], {
      values: list.map((i) => (i < 0 ? i + (known ?? 0) : i)),
      type: { dtype: "i32", shape }
    })
  }
  const values = Site.emit("constant", [], { values: list, type: { dtype: "i32", shape } })
  const fromEnd = Site.emit("add", [values, dimNode(size)], {})
  return Site.emit("select", [Site.emit("lt", [values, scalar(0, "i32")], {}), fromEnd, values], {})
}

/** The type of `take`. */
export interface Take {
  <const I extends Positions | number | ReadonlyArray<number>, const N extends number = 0>(
    indices: I,
    axis?: N
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & AxisFits<S, N, "take">
  ) => Tensor<D, Taken<S, IndexDims<I>>>
  <
    D extends DType.DType,
    S extends Dims,
    const I extends Positions | number | ReadonlyArray<number>,
    const N extends number = 0
  >(
    x: Tensor<D, S>,
    indices: I,
    axis?: N & AxisFits<S, N, "take">
  ): Tensor<D, Taken<S, IndexDims<I>>>
}

const isPositions = (x: unknown): boolean => isTensor(x) || Array.isArray(x)

const take_ = (op: string): Take =>
  Site.dual(
    (args) =>
      args.length > 2 ||
      isPositions(args[1]) ||
      (args.length === 2 && isTensor(args[0]) && !isIntTensor(args[0])),
    (x: Tensor, indices: Positions | number | ReadonlyArray<number>, axis = 0) => {
      const node = tensorNode(op, x)
      const at = Site.axisOf(op, axis, node.type.shape)
      return fromNode(Site.emit("gather", [node, positionsNode(op, node, at, indices)], { axis: at }))
    }
  )

const isIntTensor = (x: Tensor): boolean => x.dtype === "i32" || x.dtype === "u32"

/**
 * Slices of `x` at positions of one axis (the first unless told otherwise), whose place the axes of `indices` take, as
 * NumPy's take. One number takes one entry and drops the axis. Written numbers may count from the end; numbers in a tensor
 * are clamped into the axis. In a pipe give the axis.
 */
export const take: Take = take_("take")

/** `take`, under the name that graphs use. */
export const gather: Take = take_("gather")

/** For each position of `indices`, the element of `x` there along one axis; all other sizes are equal. */
export const takeAlongAxis: {
  <I extends Dims, const N extends number>(
    indices: Tensor<"i32" | "u32", I>,
    axis: N
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & AxisFits<S, N, "takeAlongAxis">
  ) => Tensor<D, I>
  <D extends DType.DType, S extends Dims, I extends Dims, const N extends number>(
    x: Tensor<D, S>,
    indices: Tensor<"i32" | "u32", I>,
    axis: N & AxisFits<S, N, "takeAlongAxis">
  ): Tensor<D, I>
} = Site.dual(
  (args) => args.length > 2,
  (x: Tensor, indices: Positions, axis: number) => {
    const [node, at] = [tensorNode("takeAlongAxis", x), castNode(tensorNode("takeAlongAxis", indices), "i32")]
    const [shape, sizes] = [node.type.shape, at.type.shape]
    const along = Site.axisOf("takeAlongAxis", axis, shape)
    const fits =
      sizes.length === shape.length &&
      shape.every((d, i) => i === along || Dim.canEqual(d, sizes[i] as Dim.Dim))
    if (!fits) {
      throw Site.shapeError(
        "takeAlongAxis",
        `sizes other than at axis ${axis} must be equal, given ${Site.list([node, at])}`,
        "broadcastTo brings indices to the shape"
      )
    }
    // Row-major position in the flat tensor: the sum of position times stride.
    let flat: IRNode.Node | undefined
    let stride = Dim.one
    for (let i = shape.length - 1; i >= 0; i--) {
      const own =
        i === along
          ? clamped(at, Site.sizeAt(shape, i))
          : alongAxis(iotaNode(Site.sizeAt(sizes, i)), i, sizes.length)
      const step = Dim.isOne(stride) ? own : Site.emit("mul", [own, dimNode(stride)], {})
      flat = flat === undefined ? step : Site.emit("add", [flat, step], {})
      stride = Dim.mul(stride, Site.sizeAt(shape, i))
    }
    const elements = reshapeNode(node, [Dim.product(shape)])
    return fromNode(Site.emit("gather", [elements, broadcastNode(flat as IRNode.Node, sizes)], { axis: 0 }))
  }
)

const clamped = (at: IRNode.Node, size: Dim.Dim): IRNode.Node => {
  const last = dimNode(Dim.sub(size, Dim.one))
  return Site.emit("min", [Site.emit("max", [at, scalar(0, "i32")], {}), last], {})
}

/** A vector along one axis of a rank. */
const alongAxis = (vector: IRNode.Node, axis: number, rank: number): IRNode.Node =>
  reshapeNode(
    vector,
    Array.from({ length: rank }, (_, i) => (i === axis ? Site.sizeAt(vector.type.shape, 0) : Dim.one))
  )

/** Where `updateSlice` writes. */
export interface Placement {
  readonly axis: number
  /** Positions past the end start again at 0, as in a ring buffer; otherwise they are dropped. */
  readonly wrap?: boolean
}

/** The first position: a number, a length (`"P"`), an i32 scalar, or one i32 for each entry of axis 0. */
export type Start = Dim.DimLike | Tensor<"i32" | "u32">

/** `x` with `update` written over it from `start` on along an axis; the other sizes are equal. */
export const updateSlice: {
  (
    update: Tensor,
    start: Start,
    placement: Placement
  ): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<D, S>
  <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S>,
    update: Tensor,
    start: Start,
    placement: Placement
  ): Tensor<D, S>
} = Site.dual(
  (args) => args.length > 3,
  (x: Tensor, update: Tensor, start: Start, placement: Placement) => {
    const [node, part] = [tensorNode("updateSlice", x), tensorNode("updateSlice", update)]
    const axis = Site.axisOf("updateSlice", placement.axis, node.type.shape)
    return fromNode(
      Site.emit("update_slice", [node, castNode(part, node.type.dtype), startNode(start)], {
        axis,
        wrap: placement.wrap ?? false
      })
    )
  }
)

const startNode = (start: Start): IRNode.Node =>
  isTensor(start) ? castNode(nodeOf(start), "i32") : lengthNode("updateSlice", start)

/**
 * `x` with each entry of `update` written at its positions in the first axes: `scatter(pool, rows, [page, row])` sets pool[page[n], row[n]] to
 * rows[n]. Entries outside are dropped; of entries at one place any may stay.
 */
export const scatter: {
  (
    update: Tensor,
    positions: ReadonlyArray<Positions>
  ): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<D, S>
  <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S>,
    update: Tensor,
    positions: ReadonlyArray<Positions>
  ): Tensor<D, S>
} = Site.dual(
  (args) => args.length > 2,
  (x: Tensor, update: Tensor, positions: ReadonlyArray<Positions>) => {
    const [node, entries] = [tensorNode("scatter", x), tensorNode("scatter", update)]
    const at = positions.map((p) => castNode(tensorNode("scatter", p), "i32"))
    return fromNode(Site.emit("scatter", [node, castNode(entries, node.type.dtype), ...at], {}))
  }
)

type OneHot<S extends Dims> = Blank<readonly [...S, 1]>

/** 1 where the new axis has the index, 0 elsewhere. The axis comes last unless told otherwise; f32 unless told otherwise. */
export const oneHot: {
  <E extends DType.DType = "f32">(
    depth: Dim.DimLike,
    options?: { readonly axis?: number; readonly dtype?: E }
  ): <S extends Dims>(indices: Tensor<"i32" | "u32", S>) => Tensor<E, OneHot<S>>
  <S extends Dims, E extends DType.DType = "f32">(
    indices: Tensor<"i32" | "u32", S>,
    depth: Dim.DimLike,
    options?: { readonly axis?: number; readonly dtype?: E }
  ): Tensor<E, OneHot<S>>
} = Site.dual(
  (args) => isTensor(args[0]),
  (
    indices: Tensor,
    depth: Dim.DimLike,
    options: { readonly axis?: number; readonly dtype?: DType.DType } = {}
  ) => {
    const node = tensorNode("oneHot", indices)
    const { shape } = node.type
    const axis = Site.axisOf("oneHot", options.axis ?? -1, [...shape, Dim.one])
    const apart = reshapeNode(node, [...shape.slice(0, axis), Dim.one, ...shape.slice(axis)])
    const positions = castNode(
      alongAxis(iotaNode(sizeOf("oneHot", depth)), axis, shape.length + 1),
      node.type.dtype
    )
    return fromNode(castNode(Site.emit("eq", [apart, positions], {}), options.dtype ?? "f32"))
  }
)
