import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import type * as IRShape from "../../ir/Shape.ts"
import type { AxisFits, CanIndex, Normal, Replace } from "./axes.ts"
import type { Blank, Dims, HasRank, Refused, Show, Size, Unify } from "./dims.ts"
import { reshapeNode, sizeOf } from "./movement.ts"
import { castNode, type Promote, tensorNode } from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, isTensor, type Tensor } from "./Tensor.ts"

/** Tensors put together, taken apart, padded. */

const onTensor = (args: ReadonlyArray<unknown>): boolean => isTensor(args[0])
const onList = (args: ReadonlyArray<unknown>): boolean => Array.isArray(args[0])

type PromoteAll<P extends ReadonlyArray<Tensor>, D extends DType.DType = "bool"> = P extends readonly [
  infer A extends Tensor,
  ...infer R extends ReadonlyArray<Tensor>
]
  ? PromoteAll<R, Promote<D, A["dtype"]>>
  : P extends readonly []
    ? D
    : P[number]["dtype"]

/** `unknown` where two shapes agree at all axes but `I`. */
type Agree<S extends Dims, T extends Dims, I, Op extends string> =
  HasRank<S> extends true
    ? HasRank<T> extends true
      ? S["length"] extends T["length"]
        ? true extends Disagree<S, T, I>[number & keyof Disagree<S, T, I>]
          ? Refused<`${Op}: ${Show<S>} and ${Show<T>} differ at another axis`>
          : unknown
        : Refused<`${Op}: ${Show<S>} and ${Show<T>} have different ranks`>
      : unknown
    : unknown

type Disagree<S extends Dims, T extends Dims, I> = {
  readonly [K in keyof S]: K extends `${I & number}`
    ? false
    : K extends keyof T
      ? [Unify<S[K] & Size, T[K] & Size>] extends [never]
        ? true
        : false
      : false
}

type Parts = ReadonlyArray<Tensor>

type JoinFits<P extends Parts, N extends number, Op extends string> = P extends readonly [
  infer A extends Tensor,
  ...infer R extends Parts
]
  ? AxisFits<A["shape"], N, Op> &
      RestFits<A["shape"], R, CanIndex<A["shape"], N> extends true ? Normal<A["shape"], N> : number, Op>
  : unknown

type RestFits<S extends Dims, R extends Parts, I, Op extends string> = R extends readonly [
  infer B extends Tensor,
  ...infer Q extends Parts
]
  ? number extends I
    ? unknown
    : Agree<S, B["shape"], I, Op> & RestFits<S, Q, I, Op>
  : unknown

type JoinShape<P extends Parts, N extends number> = P extends readonly [infer A extends Tensor]
  ? A["shape"]
  : P extends readonly [infer A extends Tensor, ...Parts]
    ? Replace<A["shape"], N, Size>
    : Dims

const promoted = (op: string, parts: ReadonlyArray<Tensor>): ReadonlyArray<IRNode.Node> => {
  if (!Array.isArray(parts) || parts.length === 0) {
    throw Site.attrError(op, "needs at least one tensor", "pass a list of tensors, then the axis")
  }
  const nodes = parts.map((x) => tensorNode(op, x))
  const dtype = nodes.map((n) => n.type.dtype).reduce(DType.promote)
  return nodes.map((n) => castNode(n, dtype))
}

/** Tensors one after the other along an axis; all other sizes are equal. Dtypes meet at `DType.promote`. */
export const concat: {
  <const N extends number>(
    axis: N
  ): <const P extends Parts>(parts: P & JoinFits<P, N, "concat">) => Tensor<PromoteAll<P>, JoinShape<P, N>>
  <const P extends Parts, const N extends number>(
    parts: P,
    axis: N & JoinFits<P, N, "concat">
  ): Tensor<PromoteAll<P>, JoinShape<P, N>>
} = Site.dual(onList, (parts: ReadonlyArray<Tensor>, axis: number) => {
  const nodes = promoted("concat", parts)
  const at = Site.axisOf("concat", axis, (nodes[0] as IRNode.Node).type.shape)
  return fromNode(nodes.length === 1 ? (nodes[0] as IRNode.Node) : Site.emit("concat", nodes, { axis: at }))
})

type StackShape<P extends Parts> = P extends readonly [infer A extends Tensor, ...Parts]
  ? Blank<readonly [...A["shape"], 1]>
  : Dims

/** `unknown` where all shapes agree, the reason where two do not. */
type SameShape<P extends Parts> = P extends readonly [infer A extends Tensor, ...infer R extends Parts]
  ? RestFits<A["shape"], R, never, "stack">
  : unknown

/** Tensors of one shape next to each other along a new axis, at `axis` of the result. */
export const stack: {
  (axis?: number): <const P extends Parts>(parts: P & SameShape<P>) => Tensor<PromoteAll<P>, StackShape<P>>
  <const P extends Parts>(parts: P & SameShape<P>, axis?: number): Tensor<PromoteAll<P>, StackShape<P>>
} = Site.dual(onList, (parts: ReadonlyArray<Tensor>, axis = 0) => {
  const nodes = promoted("stack", parts)
  const shape = (nodes[0] as IRNode.Node).type.shape
  const at = Site.axisOf("stack", axis, [...shape, Dim.one])
  const apart = nodes.map((n) => {
    if (n.type.shape.length !== shape.length) {
      throw Site.shapeError(
        "stack",
        `tensors must have one shape, given ${Site.list(nodes)}`,
        "expandDims or reshape the odd one"
      )
    }
    return reshapeNode(n, [...n.type.shape.slice(0, at), Dim.one, ...n.type.shape.slice(at)])
  })
  return fromNode(apart.length === 1 ? (apart[0] as IRNode.Node) : Site.emit("concat", apart, { axis: at }))
})

/** Which entries of an axis, as in Python: negative positions count from the end. */
export interface Range {
  readonly start?: Dim.DimLike
  readonly stop?: Dim.DimLike
  readonly step?: number
}

/** A position from the start, within a size where both are known. */
const position = (op: string, at: Dim.DimLike, size: Dim.Dim, least: number): Dim.Dim => {
  const from = typeof at === "number" && at < 0 ? Dim.add(size, Dim.constant(at)) : sizeOf(op, at)
  const [known, most] = [Dim.value(from), Dim.value(size)]
  if (known === undefined || most === undefined) return from
  return Dim.constant(Math.min(Math.max(known, least), least < 0 ? most - 1 : most))
}

const sliceAxis = (
  node: IRNode.Node,
  axis: number,
  start: Dim.Dim,
  stop: Dim.Dim,
  step: number
): IRNode.Node => {
  const shape = node.type.shape
  const at = <A>(one: A, rest: (d: Dim.Dim) => A): ReadonlyArray<A> =>
    shape.map((d, i) => (i === axis ? one : rest(d)))
  return Site.emit("slice", [node], {
    starts: at(start, () => Dim.zero),
    stops: at(stop, (d) => d),
    steps: at(step, () => 1)
  })
}

/** Entries start, start + step, … before `stop`, backwards: gathered at computed positions. */
const backwards = (node: IRNode.Node, axis: number, range: Range, step: number): IRNode.Node => {
  const size = Site.sizeAt(node.type.shape, axis)
  const start = range.start === undefined ? Dim.sub(size, Dim.one) : position("slice", range.start, size, -1)
  const stop = range.stop === undefined ? Dim.constant(-1) : position("slice", range.stop, size, -1)
  const length = Dim.sub(start, stop)
  const known = Dim.value(length)
  const count =
    known === undefined
      ? Dim.divideExact(length, Dim.constant(-step))
      : Dim.constant(Math.max(0, Math.ceil(known / -step)))
  if (count === undefined) {
    throw Site.attrError(
      "slice",
      `${Dim.print(length)} entries do not divide into steps of ${step}`,
      "use a size that is a multiple of the step"
    )
  }
  const steps = Site.emit("iota", [], { type: { dtype: "i32", shape: [count] } })
  const factor = Site.emit("constant", [], { values: [step], type: { dtype: "i32", shape: [] } })
  const first = Site.emit("dim", [], { value: start })
  const positions = Site.emit("add", [Site.emit("mul", [steps, factor], {}), first], {})
  return Site.emit("gather", [node, positions], { axis })
}

/** Entries of one axis of a node, as `slice` takes them. */
export const sliceNode = (node: IRNode.Node, axis: number, range: Range): IRNode.Node => {
  const step = range.step ?? 1
  if (!Number.isSafeInteger(step) || step === 0) {
    throw Site.attrError("slice", `a step of ${step} leads nowhere`, "use a whole number other than 0")
  }
  if (step < 0) return backwards(node, axis, range, step)
  const size = Site.sizeAt(node.type.shape, axis)
  const start = position("slice", range.start ?? 0, size, 0)
  const stop = range.stop === undefined ? size : position("slice", range.stop, size, 0)
  const length = Dim.value(Dim.sub(stop, start))
  if (Dim.equals(start, Dim.zero) && Dim.equals(stop, size) && step === 1) return node
  return sliceAxis(node, axis, start, length !== undefined && length < 0 ? start : stop, step)
}

/**
 * Entries start, start + step, … before `stop` of an axis. Negative positions count from the end, a negative step goes
 * backwards, positions past the end are cut off, as in Python. Where a size is a symbol, positions past its end are refused when the
 * length is known.
 */
export const slice: {
  <const N extends number>(
    axis: N,
    range: Range
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & AxisFits<S, N, "slice">
  ) => Tensor<D, Replace<S, N, Size>>
  <D extends DType.DType, S extends Dims, const N extends number>(
    x: Tensor<D, S>,
    axis: N & AxisFits<S, N, "slice">,
    range: Range
  ): Tensor<D, Replace<S, N, Size>>
} = Site.dual(onTensor, (x: Tensor, axis: number, range: Range) => {
  const node = tensorNode("slice", x)
  return fromNode(sliceNode(node, Site.axisOf("slice", axis, node.type.shape), range))
})

/** Entries in reverse order along an axis. */
export const flip: {
  <const N extends number>(
    axis: N
  ): <D extends DType.DType, S extends Dims>(x: Tensor<D, S> & AxisFits<S, N, "flip">) => Tensor<D, S>
  <D extends DType.DType, S extends Dims, const N extends number>(
    x: Tensor<D, S>,
    axis: N & AxisFits<S, N, "flip">
  ): Tensor<D, S>
} = Site.dual(onTensor, (x: Tensor, axis: number) => {
  const node = tensorNode("flip", x)
  return fromNode(sliceNode(node, Site.axisOf("flip", axis, node.type.shape), { step: -1 }))
})

type Times<N extends number, A, Out extends ReadonlyArray<A> = readonly []> = number extends N
  ? ReadonlyArray<A>
  : Out["length"] extends N
    ? Out
    : Out["length"] extends 32
      ? ReadonlyArray<A>
      : Times<N, A, readonly [...Out, A]>

type Pieces<P, A> = P extends number
  ? Times<P, A>
  : P extends ReadonlyArray<unknown>
    ? { readonly [K in keyof P]: A }
    : ReadonlyArray<A>

/**
 * Parts along an axis: a number of equal parts, or a list of their sizes, which add up to the axis. A size that is a symbol
 * must divide evenly.
 */
export const split: {
  <const P extends number | ReadonlyArray<Dim.DimLike>, const N extends number = 0>(
    parts: P,
    axis?: N
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & AxisFits<S, N, "split">
  ) => Pieces<P, Tensor<D, Replace<S, N, Size>>>
  <
    D extends DType.DType,
    S extends Dims,
    const P extends number | ReadonlyArray<Dim.DimLike>,
    const N extends number = 0
  >(
    x: Tensor<D, S>,
    parts: P,
    axis?: N & AxisFits<S, N, "split">
  ): Pieces<P, Tensor<D, Replace<S, N, Size>>>
} = Site.dual(onTensor, (x: Tensor, parts: number | ReadonlyArray<Dim.DimLike>, axis = 0) => {
  const node = tensorNode("split", x)
  const at = Site.axisOf("split", axis, node.type.shape)
  let start = Dim.zero
  return partSizes(node, at, parts).map((size) => {
    const stop = Dim.add(start, size)
    const part = sliceAxis(node, at, start, stop, 1)
    start = stop
    return fromNode(part)
  })
})

const partSizes = (
  node: IRNode.Node,
  axis: number,
  parts: number | ReadonlyArray<Dim.DimLike>
): IRShape.Shape => {
  const size = Site.sizeAt(node.type.shape, axis)
  if (typeof parts === "number") {
    const each =
      Number.isSafeInteger(parts) && parts > 0 ? Dim.divideExact(size, Dim.constant(parts)) : undefined
    if (each === undefined) {
      throw Site.attrError(
        "split",
        `axis ${axis} of ${Site.list([node])} does not split into ${parts} equal parts`,
        "give the sizes of the parts"
      )
    }
    return Array.from({ length: parts }, () => each)
  }
  const sizes = parts.map((d) => sizeOf("split", d))
  const sum = sizes.reduce(Dim.add, Dim.zero)
  if (!Dim.equals(sum, size)) {
    throw Site.shapeError(
      "split",
      `parts of ${sizes.map(Dim.print).join(", ")} do not add up to axis ${axis} of ${Site.list([node])}`,
      "the sizes of the parts add up to the size of the axis"
    )
  }
  return sizes
}

/** How many elements go before and after an axis. */
export type Widths = ReadonlyArray<readonly [low: Dim.DimLike, high: Dim.DimLike]>

/** A constant before and after the elements: one pair for each axis. */
export const pad: {
  (
    widths: Widths,
    value?: number
  ): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<D, Replace<S, number, Size>>
  <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S>,
    widths: Widths,
    value?: number
  ): Tensor<D, Replace<S, number, Size>>
} = Site.dual(onTensor, (x: Tensor, widths: Widths, value = 0) => {
  const node = tensorNode("pad", x)
  const low = widths.map(([d]) => sizeOf("pad", d))
  const high = widths.map(([, d]) => sizeOf("pad", d))
  return fromNode(Site.emit("pad", [node], { low, high, value }))
})
