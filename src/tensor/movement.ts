import * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import * as IRShape from "../../ir/Shape.ts"
import type { Permute, SwapLast } from "./axes.ts"
import type { Broadcast, Dims, Fits, HasRank, Refused, Shaped, Show, Size } from "./dims.ts"
import { tensorNode } from "./operand.ts"
import type { Reshaped } from "./product.ts"
import * as Site from "./Site.ts"
import { fromNode, isTensor, type Tensor } from "./Tensor.ts"

/** Elements keep their values and get other positions. */

const onTensor = (args: ReadonlyArray<unknown>): boolean => isTensor(args[0])

export const reshapeNode = (x: IRNode.Node, shape: IRShape.Shape): IRNode.Node =>
  IRShape.equals(x.type.shape, shape) ? x : Site.emit("reshape", [x], { shape })

export const broadcastNode = (x: IRNode.Node, shape: IRShape.Shape): IRNode.Node =>
  IRShape.equals(x.type.shape, shape) ? x : Site.emit("broadcast", [x], { shape })

export const transposeNode = (x: IRNode.Node, perm: ReadonlyArray<number>): IRNode.Node =>
  perm.every((axis, i) => axis === i) ? x : Site.emit("transpose", [x], { perm })

/** A size of a target shape, as a person writes it. */
export const sizeOf = (op: string, size: unknown, where = ""): Dim.Dim => {
  if (typeof size === "number" && Number.isSafeInteger(size) && size >= 0) return Dim.constant(size)
  if (Dim.isDim(size)) return size
  const parsed = typeof size === "string" ? Dim.parse(size) : undefined
  if (parsed !== undefined) return parsed
  throw Site.shapeError(
    op,
    `${JSON.stringify(size) ?? String(size)}${where} is not a size`,
    "use a whole number of 0 or more, a name (a letter or underscore, then letters, digits, underscores), or a polynomial of names such as P + T"
  )
}

export const shapeOf = (op: string, shape: ReadonlyArray<Dim.DimLike>): IRShape.Shape =>
  shape.map((size) => sizeOf(op, size))

/** Text that is more than one name. */
type Polynomial = `${string}${" " | "*" | "+" | "-"}${string}` | `${number}`

/** Sizes a person writes: names and numbers are kept in the type, polynomials widen. */
export type SizesOf<P extends ReadonlyArray<Dim.DimLike>> = {
  readonly [I in keyof P]: P[I] extends -1 | Polynomial | Dim.Dim ? Size : P[I] extends Size ? P[I] : Size
}

/** The last two axes swapped, or, with `perm`, the axes in another order: axis i of the result is axis `perm[i]`. */
export const transpose: {
  (): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & Fits<SwapLast<S>>
  ) => Tensor<D, Shaped<SwapLast<S>>>
  <const P extends ReadonlyArray<number>>(
    perm: P
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & Fits<Permute<S, P, "transpose">>
  ) => Tensor<D, Shaped<Permute<S, P, "transpose">>>
  <D extends DType.DType, S extends Dims, const P extends ReadonlyArray<number>>(
    x: Tensor<D, S>,
    perm: P & Fits<Permute<S, P, "transpose">>
  ): Tensor<D, Shaped<Permute<S, P, "transpose">>>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S> & Fits<SwapLast<S>>): Tensor<D, Shaped<SwapLast<S>>>
} = Site.dual(onTensor, (x: Tensor, perm?: ReadonlyArray<number>) => {
  const node = tensorNode("transpose", x)
  const rank = node.type.shape.length
  if (perm === undefined) {
    if (rank < 2) {
      throw Site.shapeError(
        "transpose",
        `there are no two axes to swap, given ${Site.list([node])}`,
        "give an order of axes, or use expandDims"
      )
    }
    return fromNode(swapNode(node, rank - 2, rank - 1))
  }
  return fromNode(permuteNode("transpose", node, perm))
})

const permuteNode = (op: string, node: IRNode.Node, perm: ReadonlyArray<number>): IRNode.Node => {
  const shape = node.type.shape
  const order = perm.map((axis) => Site.axisOf(op, axis, shape))
  if (order.length !== shape.length || new Set(order).size !== order.length) {
    throw Site.attrError(
      op,
      `[${perm.join(", ")}] does not order the ${shape.length} axes of ${Site.list([node])}`,
      "name each axis once"
    )
  }
  return transposeNode(node, order)
}

const swapNode = (node: IRNode.Node, a: number, b: number): IRNode.Node =>
  transposeNode(
    node,
    node.type.shape.map((_, i) => (i === a ? b : i === b ? a : i))
  )

/** The axes in another order: axis i of the result is axis `perm[i]`. */
export const permute: {
  <const P extends ReadonlyArray<number>>(
    perm: P
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & Fits<Permute<S, P, "permute">>
  ) => Tensor<D, Shaped<Permute<S, P, "permute">>>
  <D extends DType.DType, S extends Dims, const P extends ReadonlyArray<number>>(
    x: Tensor<D, S>,
    perm: P & Fits<Permute<S, P, "permute">>
  ): Tensor<D, Shaped<Permute<S, P, "permute">>>
} = Site.dual(onTensor, (x: Tensor, perm: ReadonlyArray<number>) =>
  fromNode(permuteNode("permute", tensorNode("permute", x), perm))
)

/** The same elements in row-major order under another shape; one size may be -1 and is inferred. */
export const reshape: {
  <const P extends ReadonlyArray<Dim.DimLike>>(
    shape: P
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & Fits<Reshaped<S, P, SizesOf<P>>>
  ) => Tensor<D, Shaped<Reshaped<S, P, SizesOf<P>>>>
  <D extends DType.DType, S extends Dims, const P extends ReadonlyArray<Dim.DimLike>>(
    x: Tensor<D, S>,
    shape: P & Fits<Reshaped<S, P, SizesOf<P>>>
  ): Tensor<D, Shaped<Reshaped<S, P, SizesOf<P>>>>
} = Site.dual(onTensor, (x: Tensor, shape: ReadonlyArray<Dim.DimLike>) => {
  const node = tensorNode("reshape", x)
  return fromNode(reshapeNode(node, inferred(node, shape)))
})

const inferred = (node: IRNode.Node, shape: ReadonlyArray<Dim.DimLike>): IRShape.Shape => {
  const holes = shape.filter((d) => d === -1).length
  if (holes === 0) return shapeOf("reshape", shape)
  const written = `[${shape.map((d) => (Dim.isDim(d) ? d.key : d)).join(", ")}]`
  if (holes > 1) throw Site.attrError("reshape", `${written} leaves ${holes} sizes open`, "write -1 once")
  const rest = Dim.product(shape.filter((d) => d !== -1).map((d) => sizeOf("reshape", d)))
  const size = Dim.divideExact(IRShape.size(node.type.shape), rest)
  if (size === undefined) {
    throw Site.shapeError(
      "reshape",
      `${written} does not divide the elements of ${Site.list([node])}`,
      "write every size; one that holds only at some lengths is checked when the lengths are known"
    )
  }
  return shape.map((d) => (d === -1 ? size : sizeOf("reshape", d)))
}

/** The result of stretching to a target shape. */
type Target<S extends Dims, T extends Dims> =
  HasRank<S> extends true
    ? HasRank<T> extends true
      ? Broadcast<S, T, "broadcastTo"> extends infer R
        ? R extends Dims
          ? R["length"] extends T["length"]
            ? T
            : Refused<`broadcastTo: ${Show<S>} has more axes than ${Show<T>}`>
          : R
        : never
      : T
    : T

/** Sizes of 1 stretch and new axes come first, as in NumPy, until the shape is `shape`. */
export const broadcastTo: {
  <const P extends ReadonlyArray<Dim.DimLike>>(
    shape: P
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & Fits<Target<S, SizesOf<P>>>
  ) => Tensor<D, Shaped<Target<S, SizesOf<P>>>>
  <D extends DType.DType, S extends Dims, const P extends ReadonlyArray<Dim.DimLike>>(
    x: Tensor<D, S>,
    shape: P & Fits<Target<S, SizesOf<P>>>
  ): Tensor<D, Shaped<Target<S, SizesOf<P>>>>
} = Site.dual(onTensor, (x: Tensor, shape: ReadonlyArray<Dim.DimLike>) =>
  fromNode(broadcastNode(tensorNode("broadcastTo", x), shapeOf("broadcastTo", shape)))
)

type HeadsOf<S extends Dims, G extends number> = G extends 1
  ? S
  : HasRank<S> extends true
    ? S extends readonly [
        ...infer R extends Dims,
        infer _H extends Size,
        infer T extends Size,
        infer E extends Size
      ]
      ? readonly [...R, Size, T, E]
      : Refused<`repeatHeads: ${Show<S>} has no axis of heads before the last two`>
    : Dims

/**
 * Each head `groups` times in a row, `[..., H, T, D] → [..., H * groups, T, D]`: query head h reads key/value head
 * `h div groups`.
 */
export const repeatHeads: {
  <const G extends number>(
    groups: G
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & Fits<HeadsOf<S, G>>
  ) => Tensor<D, Shaped<HeadsOf<S, G>>>
  <D extends DType.DType, S extends Dims, const G extends number>(
    x: Tensor<D, S> & Fits<HeadsOf<S, G>>,
    groups: G
  ): Tensor<D, Shaped<HeadsOf<S, G>>>
} = Site.dual(onTensor, (x: Tensor, groups: number) => {
  const node = tensorNode("repeatHeads", x)
  if (node.type.shape.length < 3) {
    throw Site.shapeError(
      "repeatHeads",
      `there is no axis of heads before the last two, given ${Site.list([node])}`,
      "heads come third from the end: [..., H, T, D]"
    )
  }
  return fromNode(repeatNode("repeatHeads", node, groups, node.type.shape.length - 3))
})

/** Each entry of an axis `times` times in a row. */
export const repeatNode = (op: string, node: IRNode.Node, times: number, axis: number): IRNode.Node => {
  if (!Number.isSafeInteger(times) || times < 1) {
    throw Site.attrError(op, `cannot repeat ${times} times`, "use a whole number of 1 or more")
  }
  if (times === 1) return node
  const shape = node.type.shape
  const [before, size, after] = [shape.slice(0, axis), shape[axis] as Dim.Dim, shape.slice(axis + 1)]
  const count = Dim.constant(times)
  const apart = reshapeNode(node, [...before, size, Dim.one, ...after])
  const repeated = broadcastNode(apart, [...before, size, count, ...after])
  return reshapeNode(repeated, [...before, Dim.mul(size, count), ...after])
}
