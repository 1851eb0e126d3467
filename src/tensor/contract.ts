import * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import { ShapeError } from "../../ir/errors.ts"
import * as Infer from "../../ir/Infer.ts"
import type * as IRNode from "../../ir/Node.ts"
import type * as IRShape from "../../ir/Shape.ts"
import type { Dims, Fits, Matmul, Shaped } from "./dims.ts"
import { castNode, meet, type Numeric, numeric, type Promote, tensorNode } from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, type Tensor } from "./Tensor.ts"

const reshapeNode = (x: IRNode.Node, shape: IRShape.Shape): IRNode.Node =>
  Site.emit("reshape", [x], { shape })

const broadcastNode = (x: IRNode.Node, shape: IRShape.Shape): IRNode.Node =>
  x.type.shape.length === shape.length && x.type.shape.every((d, i) => Dim.equals(d, shape[i] as Dim.Dim))
    ? x
    : Site.emit("broadcast", [x], { shape })

const range = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: to - from }, (_, i) => from + i)

/** The batch shape of both, or the mistake in the words of `matmul`. */
const batchShape = (x: IRNode.Node, y: IRNode.Node): IRShape.Shape => {
  const batches = [x, y].map((n) => ({ dtype: n.type.dtype, shape: n.type.shape.slice(0, -2) }))
  try {
    return Infer.broadcast("matmul", batches, [])
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error
    throw Site.shapeError(
      "matmul",
      `the batch axes of ${Site.list([x, y])} do not broadcast`,
      "batch axes, all but the last two, must be equal or 1; key/value heads fit query heads after repeatHeads"
    )
  }
}

/** Splits batch axes: the first ones are shared; the rest only the left has, or has been broadcast to share. */
const sharedAxes = (x: IRShape.Shape, y: IRShape.Shape, batch: IRShape.Shape): number => {
  const ownAt = (shape: IRShape.Shape, axis: number): Dim.Dim =>
    shape[axis - batch.length + (shape.length - 2)] ?? Dim.one
  const onlyLeft = (axis: number): boolean => Dim.isOne(ownAt(y, axis)) && !Dim.isOne(ownAt(x, axis))
  let shared = batch.length
  while (shared > 0 && onlyLeft(shared - 1)) shared--
  return shared
}

/**
 * Batch axes that only the left has stay free axes of the left where they come last, so that a weight matrix or one
 * key/value head of a group is never copied; other batch axes are broadcast.
 */
const product = (x: IRNode.Node, y: IRNode.Node): IRNode.Node => {
  const batch = batchShape(x, y)
  const shared = sharedAxes(x.type.shape, y.type.shape, batch)
  const lhs = broadcastNode(x, [...batch, ...x.type.shape.slice(-2)])
  const matrix = y.type.shape.slice(-2)
  const yBatch = y.type.shape.slice(0, -2)
  // The axes of y past the shared ones are literally 1: they go away.
  const kept = yBatch.slice(0, Math.max(0, yBatch.length - (batch.length - shared)))
  const squeezed = kept.length === yBatch.length ? y : reshapeNode(y, [...kept, ...matrix])
  const rhs = broadcastNode(squeezed, [...batch.slice(0, shared), ...matrix])
  return Site.emit("dot", [lhs, rhs], {
    lhsBatch: range(0, shared),
    rhsBatch: range(0, shared),
    lhsContract: [batch.length + 1],
    rhsContract: [shared]
  })
}

const matmulNodes = (left: IRNode.Node, right: IRNode.Node): IRNode.Node => {
  const [x, y] = [left.type.shape, right.type.shape]
  if (x.length === 0 || y.length === 0) {
    throw Site.shapeError(
      "matmul",
      `a scalar has no axis to contract, given ${Site.list([left, right])}`,
      "multiply with Tensor.mul"
    )
  }
  const inner = x[x.length - 1] as Dim.Dim
  const outer = y[Math.max(0, y.length - 2)] as Dim.Dim
  if (!Dim.canEqual(inner, outer)) {
    const swapped = y.length > 1 && Dim.equals(inner, y[y.length - 1] as Dim.Dim)
    throw Site.shapeError(
      "matmul",
      `contracts ${Dim.print(inner)} with ${Dim.print(outer)}, given ${Site.list([left, right])}`,
      swapped
        ? "transpose the right operand: Tensor.transpose(y)"
        : "the last axis of the left meets the axis before the last of the right"
    )
  }
  const rows = x.length === 1 ? reshapeNode(left, [Dim.one, ...x]) : left
  const columns = y.length === 1 ? reshapeNode(right, [...y, Dim.one]) : right
  const result = product(rows, columns)
  if (x.length > 1 && y.length > 1) return result
  const shape = result.type.shape
  const batch = shape.slice(0, -2)
  return reshapeNode(result, [
    ...batch,
    ...(x.length === 1 ? [] : shape.slice(-2, -1)),
    ...(y.length === 1 ? [] : shape.slice(-1))
  ])
}

/**
 * Matrix product over the last two axes, `[..., M, K] × [..., K, N] → [..., M, N]`; axes before them broadcast. A vector on the
 * left is a row, on the right a column, and its axis is not in the result, as in NumPy.
 *
 * Operands meet at `DType.promote`. f16 and bf16 accumulate in f32 and round once. Throws `ShapeError` where the contracted
 * sizes or the batch axes cannot be equal.
 */
export const matmul: {
  <E extends DType.DType, T extends Dims>(
    y: Tensor<E, T>
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & Fits<Matmul<S, T>>
  ) => Tensor<Numeric<Promote<D, E>>, Shaped<Matmul<S, T>>>
  <D extends DType.DType, S extends Dims, E extends DType.DType, T extends Dims>(
    x: Tensor<D, S>,
    y: Tensor<E, T> & Fits<Matmul<S, T>>
  ): Tensor<Numeric<Promote<D, E>>, Shaped<Matmul<S, T>>>
} = Site.dual(
  (args) => args.length > 1,
  (x: Tensor, y: Tensor) => {
    const nodes = [tensorNode("matmul", x), tensorNode("matmul", y)] as const
    const dtype = numeric(meet("matmul", [x, y]))
    return fromNode(matmulNodes(castNode(nodes[0], dtype), castNode(nodes[1], dtype)))
  }
)
