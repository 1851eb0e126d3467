import * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import type { AxisFits, CanIndex, Drop, Normal } from "./axes.ts"
import type { Blank, Dims, Fits, Refused, Shaped, Show, Size } from "./dims.ts"
import { repeatNode, reshapeNode, transposeNode } from "./movement.ts"
import { tensorNode } from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, isTensor, type Tensor } from "./Tensor.ts"

/** Axes that swap places, merge, appear and disappear. */

const onTensor = (args: ReadonlyArray<unknown>): boolean => isTensor(args[0])

type SwapAxes<S extends Dims, A extends number, B extends number> =
  CanIndex<S, A | B> extends true ? Swapped<S, Normal<S, A> & number, Normal<S, B> & number> : Blank<S>

type Swapped<S extends Dims, I extends number, J extends number> = {
  readonly [K in keyof S]: K extends `${I}` ? S[J] : K extends `${J}` ? S[I] : S[K]
}

/** Two axes in each other's place. */
export const swapAxes: {
  <const A extends number, const B extends number>(
    a: A,
    b: B
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & AxisFits<S, A | B, "swapAxes">
  ) => Tensor<D, SwapAxes<S, A, B>>
  <D extends DType.DType, S extends Dims, const A extends number, const B extends number>(
    x: Tensor<D, S>,
    a: A & AxisFits<S, A, "swapAxes">,
    b: B & AxisFits<S, B, "swapAxes">
  ): Tensor<D, SwapAxes<S, A, B>>
} = Site.dual(onTensor, (x: Tensor, a: number, b: number) => {
  const node = tensorNode("swapAxes", x)
  const [i, j] = [a, b].map((axis) => Site.axisOf("swapAxes", axis, node.type.shape)) as [number, number]
  return fromNode(
    transposeNode(
      node,
      node.type.shape.map((_, axis) => (axis === i ? j : axis === j ? i : axis))
    )
  )
})

/** One axis at another place; the others keep their order. */
export const moveAxis: {
  <const A extends number, const B extends number>(
    from: A,
    to: B
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & AxisFits<S, A | B, "moveAxis">
  ) => Tensor<D, Blank<S>>
  <D extends DType.DType, S extends Dims, const A extends number, const B extends number>(
    x: Tensor<D, S>,
    from: A & AxisFits<S, A, "moveAxis">,
    to: B & AxisFits<S, B, "moveAxis">
  ): Tensor<D, Blank<S>>
} = Site.dual(onTensor, (x: Tensor, from: number, to: number) => {
  const node = tensorNode("moveAxis", x)
  const [i, j] = [from, to].map((axis) => Site.axisOf("moveAxis", axis, node.type.shape)) as [number, number]
  const perm = node.type.shape.map((_, axis) => axis).filter((axis) => axis !== i)
  perm.splice(j, 0, i)
  return fromNode(transposeNode(node, perm))
})

/** The axes `start` to `end`, both included, as one; all of them unless told otherwise. */
export const flatten: {
  (start?: number, end?: number): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<D, Dims>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>, start: number, end?: number): Tensor<D, Dims>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>): Tensor<D, readonly [Size]>
} = Site.dual(onTensor, (x: Tensor, start = 0, end = -1) => {
  const node = tensorNode("flatten", x)
  const shape = node.type.shape
  if (shape.length === 0) return fromNode(reshapeNode(node, [Dim.one]))
  const [first, last] = [Site.axisOf("flatten", start, shape), Site.axisOf("flatten", end, shape)]
  if (first > last)
    throw Site.attrError("flatten", `axis ${start} comes after axis ${end}`, "give the first axis first")
  const merged = Dim.product(shape.slice(first, last + 1))
  return fromNode(reshapeNode(node, [...shape.slice(0, first), merged, ...shape.slice(last + 1)]))
})

/** The axes of the result, one more than those of `S`. */
type Longer<S extends Dims> = readonly [...S, 1]

type Inserted<S extends Dims, N extends number> =
  CanIndex<Longer<S>, N> extends true ? InsertAt<S, Normal<Longer<S>, N>> : Blank<Longer<S>>

type InsertAt<S extends Dims, I, Before extends Dims = readonly []> = Before["length"] extends I
  ? readonly [...Before, 1, ...S]
  : S extends readonly [infer A extends Size, ...infer R extends Dims]
    ? InsertAt<R, I, readonly [...Before, A]>
    : Dims

/** A new axis of size 1, at `axis` of the result. */
export const expandDims: {
  <const N extends number>(
    axis: N
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & AxisFits<Longer<S>, N, "expandDims">
  ) => Tensor<D, Inserted<S, N>>
  <D extends DType.DType, S extends Dims, const N extends number>(
    x: Tensor<D, S>,
    axis: N & AxisFits<Longer<S>, N, "expandDims">
  ): Tensor<D, Inserted<S, N>>
} = Site.dual(onTensor, (x: Tensor, axis: number) => {
  const node = tensorNode("expandDims", x)
  const shape = node.type.shape
  const at = Site.axisOf("expandDims", axis, [...shape, Dim.one])
  return fromNode(reshapeNode(node, [...shape.slice(0, at), Dim.one, ...shape.slice(at)]))
})

type Squeezed<S extends Dims, N extends number> =
  CanIndex<S, N> extends true
    ? [1] extends [S[Normal<S, N> & keyof S]]
      ? Drop<S, N>
      : S[Normal<S, N> & keyof S] extends infer A extends Size
        ? number extends A
          ? Drop<S, N>
          : string extends A
            ? Drop<S, N>
            : Refused<`squeeze: axis ${N} of ${Show<S>} has size ${A}, not 1`>
        : Drop<S, N>
    : Dims

/** Without an axis of size 1; without `axis`, without all axes whose size is known to be 1. */
export const squeeze: {
  <const N extends number>(
    axis: N
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & Fits<Squeezed<S, N>>
  ) => Tensor<D, Shaped<Squeezed<S, N>>>
  (): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<D, Dims>
  <D extends DType.DType, S extends Dims, const N extends number>(
    x: Tensor<D, S> & Fits<Squeezed<S, N>>,
    axis: N
  ): Tensor<D, Shaped<Squeezed<S, N>>>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>): Tensor<D, Dims>
} = Site.dual(onTensor, (x: Tensor, axis?: number) => {
  const node = tensorNode("squeeze", x)
  const shape = node.type.shape
  if (axis === undefined)
    return fromNode(
      reshapeNode(
        node,
        shape.filter((d) => !Dim.isOne(d))
      )
    )
  const at = Site.axisOf("squeeze", axis, shape)
  if (!Dim.isOne(Site.sizeAt(shape, at))) {
    throw Site.shapeError(
      "squeeze",
      `axis ${axis} of ${Site.list([node])} has size ${Dim.print(Site.sizeAt(shape, at))}, not 1`,
      "only axes of size 1 disappear; reshape merges axes"
    )
  }
  return fromNode(
    reshapeNode(
      node,
      shape.filter((_, i) => i !== at)
    )
  )
})

/** Each entry of an axis `times` times in a row: [a, b] becomes [a, a, b, b]. */
export const repeat: {
  (
    times: number,
    axis?: number
  ): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<D, Blank<S>>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>, times: number, axis?: number): Tensor<D, Blank<S>>
} = Site.dual(onTensor, (x: Tensor, times: number, axis = 0) => {
  const node = tensorNode("repeat", x)
  return fromNode(repeatNode("repeat", node, times, Site.axisOf("repeat", axis, node.type.shape)))
})

/** The whole tensor `times` times along each axis: [a, b] becomes [a, b, a, b]. Counts are aligned at the last axis. */
export const tile: {
  (times: ReadonlyArray<number>): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<D, Dims>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>, times: ReadonlyArray<number>): Tensor<D, Dims>
} = Site.dual(onTensor, (x: Tensor, times: ReadonlyArray<number>) => {
  const node = tensorNode("tile", x)
  const rank = Math.max(times.length, node.type.shape.length)
  const counts = [...Array.from({ length: rank - times.length }, () => 1), ...times]
  counts.forEach((n) => {
    if (!Number.isSafeInteger(n) || n < 1)
      throw Site.attrError("tile", `cannot repeat ${n} times`, "use whole numbers of 1 or more")
  })
  const sizes = [...Array.from({ length: rank - node.type.shape.length }, () => Dim.one), ...node.type.shape]
  // Axes that are repeated get an axis for the copies in front of them.
  const apart = sizes.flatMap((d, i) => (counts[i] === 1 ? [d] : [Dim.one, d]))
  const spread = sizes.flatMap((d, i) => (counts[i] === 1 ? [d] : [Dim.constant(counts[i] as number), d]))
  const merged = sizes.map((d, i) => Dim.mul(Dim.constant(counts[i] as number), d))
  const wide = counts.every((n) => n === 1)
    ? node
    : Site.emit("broadcast", [reshapeNode(node, apart)], { shape: spread })
  return fromNode(reshapeNode(wide, merged))
})
