import * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import type { AxisFits } from "./axes.ts"
import type { Dims } from "./dims.ts"
import { reshapeNode, transposeNode } from "./movement.ts"
import { castNode, type Floating, floating, floatNode, wide } from "./operand.ts"
import { keep, type Reduction, reduction } from "./reduce.ts"
import * as Site from "./Site.ts"
import { fromNode, isTensor, nodeOf, type Tensor } from "./Tensor.ts"

/** A function along one axis, the last one unless it is given. */
export interface AlongAxis<Op extends string> {
  <const N extends number = -1>(
    axis?: N
  ): <D extends DType.DType, S extends Dims>(x: Tensor<D, S> & AxisFits<S, N, Op>) => Tensor<Floating<D>, S>
  <D extends DType.DType, S extends Dims, const N extends number = -1>(
    x: Tensor<D, S>,
    axis: N & AxisFits<S, N, Op>
  ): Tensor<Floating<D>, S>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>): Tensor<Floating<D>, S>
}

const alongAxis = <Op extends string>(
  name: Op,
  build: (x: IRNode.Node, axis: number) => IRNode.Node
): AlongAxis<Op> =>
  Site.dual(
    (args) => isTensor(args[0]),
    (x: Tensor, axis?: number) => {
      const node = floatNode(name, x)
      return fromNode(build(node, Site.axisOf(name, axis ?? -1, node.type.shape)))
    }
  )

/**
 * `exp(x - max) / sum` along an axis, in f32 (f64 for f64) whatever the dtype and rounded once. A row that is -inf
 * throughout gives 0, not NaN.
 */
export const softmax = alongAxis("softmax", (x, axis) => Site.emit("softmax", [x], { axis }))

const sumExp = (x: IRNode.Node, axes: ReadonlyArray<number>): IRNode.Node => {
  if (axes.length === 0) return x
  const rest = x.type.shape.map((_, i) => i).filter((i) => !axes.includes(i))
  const [merged, axis] = atEnd(x, rest, axes)
  return Site.emit("logsumexp", [merged], { axis })
}

/** The rest of the axes first, then `axes` as one; and which axis that one is. One axis stays where it is. */
const atEnd = (
  x: IRNode.Node,
  rest: ReadonlyArray<number>,
  axes: ReadonlyArray<number>
): readonly [node: IRNode.Node, axis: number] => {
  if (axes.length === 1) return [x, axes[0] as number]
  const moved = transposeNode(x, [...rest, ...axes])
  const merged = Dim.product(axes.map((a) => Site.sizeAt(x.type.shape, a)))
  return [reshapeNode(moved, [...rest.map((a) => Site.sizeAt(x.type.shape, a)), merged]), rest.length]
}

/** Runs `f` along several axes as if they were one. */
const along = (
  x: IRNode.Node,
  axes: ReadonlyArray<number>,
  f: (x: IRNode.Node, axis: number) => IRNode.Node
): IRNode.Node => {
  const rest = x.type.shape.map((_, i) => i).filter((i) => !axes.includes(i))
  const [merged, axis] = atEnd(x, rest, axes)
  const result = f(merged, axis)
  if (axes.length === 1) return result
  const order = [...rest, ...axes]
  const apart = reshapeNode(
    result,
    order.map((a) => Site.sizeAt(x.type.shape, a))
  )
  return transposeNode(
    apart,
    x.type.shape.map((_, i) => order.indexOf(i))
  )
}

/** The logarithm of the sum of exp(x), without overflow; -inf over nothing. Integers become f32. */
export const logSumExp: Reduction<"logSumExp", "floating"> = reduction(
  "logSumExp",
  (x) => castNode(x, floating(x.type.dtype)),
  sumExp
)

/** The logarithm of `softmax`: x minus the log-sum-exp of its row. */
export const logSoftmax = alongAxis("logSoftmax", (x, axis) =>
  Site.emit("sub", [x, keep(sumExp(x, [axis]), x, [axis])], {})
)

/** What a normalisation is scaled and moved by, and over which axes it runs. */
export interface NormOptions {
  /** Multiplies the result: one value for each position of the axes, or anything that broadcasts. */
  readonly gain?: Tensor | undefined
  /** Added at the end, shaped as the gain. */
  readonly bias?: Tensor | undefined
  /** The last axis unless told otherwise; several are normalised together. */
  readonly axes?: number | ReadonlyArray<number> | undefined
  /** Added to the variance, or to the mean square; 1e-5 unless told otherwise. */
  readonly epsilon?: number | undefined
}

/** The type of a normalisation. */
export interface Norm<Options> {
  (options?: Options): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<Floating<D>, S>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>, options: Options): Tensor<Floating<D>, S>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>): Tensor<Floating<D>, S>
}

/** A gain or bias over the normalised axes, at their places. */
const placed = (parameter: Tensor, like: IRNode.Node, axes: ReadonlyArray<number>): IRNode.Node => {
  const node = castNode(nodeOf(parameter), like.type.dtype)
  const trailing = axes.every((a, i) => a === like.type.shape.length - axes.length + i)
  if (trailing || node.type.shape.length !== axes.length) return node
  return reshapeNode(
    node,
    like.type.shape.map((_, i) =>
      axes.includes(i) ? Site.sizeAt(node.type.shape, axes.indexOf(i)) : Dim.one
    )
  )
}

const norm = (name: "layerNorm" | "rmsNorm", op: "layer_norm" | "rms_norm"): Norm<NormOptions> =>
  Site.dual(
    (args) => isTensor(args[0]),
    (x: Tensor, options: NormOptions = {}) => {
      const node = floatNode(name, x)
      const axes = Site.axesOf(name, options.axes ?? -1, node.type.shape)
      if (axes.length === 0)
        throw Site.attrError(name, "there is no axis to normalise over", "leave axes out for the last axis")
      const exact = castNode(node, wide(node.type.dtype))
      const normed = along(exact, axes, (rows, axis) =>
        Site.emit(op, [rows], { axis, epsilon: options.epsilon ?? 1e-5 })
      )
      const scaled =
        options.gain === undefined
          ? normed
          : Site.emit("mul", [normed, placed(options.gain, normed, axes)], {})
      const moved =
        options.bias === undefined
          ? scaled
          : Site.emit("add", [scaled, placed(options.bias, scaled, axes)], {})
      return fromNode(castNode(moved, node.type.dtype))
    }
  )

/**
 * `(x - mean) / sqrt(variance + epsilon) * gain + bias`, the variance over n (Ba, Kiros & Hinton 2016, arXiv 1607.06450). Computed in
 * f32 (f64 for f64) and rounded once.
 */
export const layerNorm: Norm<NormOptions> = norm("layerNorm", "layer_norm")

/** `x / sqrt(mean of x² + epsilon) * gain + bias` (Zhang & Sennrich 2019, arXiv 1910.07467). Computed and rounded as `layerNorm`. */
export const rmsNorm: Norm<NormOptions> = norm("rmsNorm", "rms_norm")
