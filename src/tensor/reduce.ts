import * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import type { AxesOf, AxisFits, Drop, Replace } from "./axes.ts"
import type { Dims } from "./dims.ts"
import { reshapeNode } from "./movement.ts"
import {
  castNode,
  type Floating,
  floating,
  type Numeric,
  numeric,
  scalar,
  tensorNode,
  wide
} from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, isTensor, type Tensor } from "./Tensor.ts"

/** Many elements to one. Reduced axes disappear, or stay with size 1 where `keepDims` is set. */

export interface Options<K extends boolean = boolean> {
  readonly keepDims?: K
}

/** One axis, several, or `undefined` for all of them. */
export type Axes = number | ReadonlyArray<number> | undefined

type Reduced<S extends Dims, N, K> = K extends true ? Replace<S, N, 1> : Drop<S, N>

type Fit<S extends Dims, N, Op extends string> = [N] extends [undefined]
  ? unknown
  : AxisFits<S, AxesOf<N>, Op>

type Kind = "same" | "numeric" | "floating" | "bool" | "index"

interface Results<D extends DType.DType> {
  readonly same: D
  readonly numeric: Numeric<D>
  readonly floating: Floating<D>
  readonly bool: "bool"
  readonly index: "i32"
}

/** A reduction over axes; `Op` names it in messages, `R` says what becomes of the dtype. */
export interface Reduction<Op extends string, R extends Kind> {
  <const N extends Axes = undefined, const K extends boolean = false>(
    axes?: N,
    options?: Options<K>
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & Fit<S, N, Op>
  ) => Tensor<Results<D>[R], Reduced<S, N, K>>
  <D extends DType.DType, S extends Dims, const N extends Axes, const K extends boolean = false>(
    x: Tensor<D, S>,
    axes: N & Fit<S, N, Op>,
    options?: Options<K>
  ): Tensor<Results<D>[R], Reduced<S, N, K>>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>): Tensor<Results<D>[R], readonly []>
}

type Build = (x: IRNode.Node, axes: ReadonlyArray<number>) => IRNode.Node

/** Puts axes of size 1 where `axes` were. */
export const keep = (reduced: IRNode.Node, of: IRNode.Node, axes: ReadonlyArray<number>): IRNode.Node =>
  reshapeNode(
    reduced,
    of.type.shape.map((d, i) => (axes.includes(i) ? Dim.one : d))
  )

export const reduction = <Op extends string, R extends Kind>(
  name: Op,
  prepare: (x: IRNode.Node) => IRNode.Node,
  build: Build
): Reduction<Op, R> =>
  Site.dual(
    (args) => isTensor(args[0]),
    (x: Tensor, axes?: Axes, options?: Options) => {
      const node = prepare(tensorNode(name, x))
      const over = Site.axesOf(name, axes, node.type.shape)
      const reduced = build(node, over)
      return fromNode(options?.keepDims === true ? keep(reduced, node, over) : reduced)
    }
  )

const asNumber = (x: IRNode.Node): IRNode.Node => castNode(x, numeric(x.type.dtype))
const asFloat = (x: IRNode.Node): IRNode.Node => castNode(x, floating(x.type.dtype))
const asBool = (x: IRNode.Node): IRNode.Node => castNode(x, "bool")
const asIs = (x: IRNode.Node): IRNode.Node => x

const reduce =
  (op: "reduce_sum" | "reduce_prod" | "reduce_max" | "reduce_min"): Build =>
  (x, axes) =>
    axes.length === 0 ? x : Site.emit(op, [x], { axes })

/** How many elements the axes hold, as a scalar of a float dtype. */
const count = (x: IRNode.Node, axes: ReadonlyArray<number>, dtype: DType.DType): IRNode.Node => {
  const size = Dim.product(axes.map((a) => x.type.shape[a] as Dim.Dim))
  const known = Dim.value(size)
  return known === undefined ? castNode(Site.emit("dim", [], { value: size }), dtype) : scalar(known, dtype)
}

/** The mean in f32 (f64 for f64), not yet rounded. */
const wideMean: Build = (x, axes) => {
  const exact = castNode(x, wide(x.type.dtype))
  return Site.emit("div", [reduce("reduce_sum")(exact, axes), count(x, axes, exact.type.dtype)], {})
}

/** Sum; 0 over nothing. bools are counted as i32. f16 and bf16 accumulate in f32, here and below. */
export const sum: Reduction<"sum", "numeric"> = reduction("sum", asNumber, reduce("reduce_sum"))
/** Product; 1 over nothing. */
export const prod: Reduction<"prod", "numeric"> = reduction("prod", asNumber, reduce("reduce_prod"))
/** The largest element; over nothing the least value of the dtype. */
export const max: Reduction<"max", "same"> = reduction("max", asIs, reduce("reduce_max"))
/** The smallest element; over nothing the greatest value of the dtype. */
export const min: Reduction<"min", "same"> = reduction("min", asIs, reduce("reduce_min"))
/** Whether any element is not 0; false over nothing. */
export const any: Reduction<"any", "bool"> = reduction("any", asBool, reduce("reduce_max"))
/** Whether all elements are not 0; true over nothing. */
export const all: Reduction<"all", "bool"> = reduction("all", asBool, reduce("reduce_min"))
/** Arithmetic mean; NaN over nothing. Integers become f32. */
export const mean: Reduction<"mean", "floating"> = reduction("mean", asFloat, (x, axes) =>
  castNode(wideMean(x, axes), x.type.dtype)
)
/** Mean of the squared distance from the mean, over n (not n - 1). Integers become f32. */
export const variance: Reduction<"variance", "floating"> = reduction("variance", asFloat, (x, axes) => {
  const exact = castNode(x, wide(x.type.dtype))
  const centred = Site.emit("sub", [exact, keep(wideMean(exact, axes), exact, axes)], {})
  return castNode(wideMean(Site.emit("mul", [centred, centred], {}), axes), x.type.dtype)
})

/** A choice along one axis, which disappears, the last one unless told otherwise. */
export interface Choice<Op extends string> {
  <const N extends number = -1>(
    axis?: N
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & AxisFits<S, N, Op>
  ) => Tensor<"i32", Drop<S, N>>
  <D extends DType.DType, S extends Dims, const N extends number>(
    x: Tensor<D, S>,
    axis: N & AxisFits<S, N, Op>
  ): Tensor<"i32", Drop<S, N>>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>): Tensor<"i32", Drop<S, -1>>
}

const choice = <Op extends string>(name: Op, prepare: (x: IRNode.Node) => IRNode.Node): Choice<Op> =>
  Site.dual(
    (args) => isTensor(args[0]),
    (x: Tensor, axis = -1) => {
      const node = prepare(asNumber(tensorNode(name, x)))
      return fromNode(Site.emit("argmax", [node], { axis: Site.axisOf(name, axis, node.type.shape) }))
    }
  )

/** Position of the first largest element along an axis; 0 over nothing. */
export const argmax: Choice<"argmax"> = choice("argmax", asIs)

/** Position of the first smallest element along an axis; 0 over nothing. The order of u32 is turned round by subtraction. */
export const argmin: Choice<"argmin"> = choice("argmin", (x) =>
  x.type.dtype === "u32"
    ? Site.emit("sub", [scalar(2 ** 32 - 1, "u32"), x], {})
    : x.type.dtype === "i32"
      ? Site.emit("sub", [scalar(-1, "i32"), x], {})
      : Site.emit("neg", [x], {})
)

/** Running sum along an axis, the own element included. */
export const cumsum: {
  <const N extends number>(
    axis: N
  ): <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S> & AxisFits<S, N, "cumsum">
  ) => Tensor<Numeric<D>, S>
  <D extends DType.DType, S extends Dims, const N extends number>(
    x: Tensor<D, S>,
    axis: N & AxisFits<S, N, "cumsum">
  ): Tensor<Numeric<D>, S>
} = Site.dual(
  (args) => isTensor(args[0]),
  (x: Tensor, axis: number) => {
    const node = asNumber(tensorNode("cumsum", x))
    return fromNode(Site.emit("cumsum", [node], { axis: Site.axisOf("cumsum", axis, node.type.shape) }))
  }
)
