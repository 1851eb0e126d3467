import { one } from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import type { AxisFits } from "./axes.ts"
import type { Dims } from "./dims.ts"
import { type Floating, floatNode } from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, isTensor, type Tensor } from "./Tensor.ts"

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
  build: (x: ReturnType<typeof floatNode>, axis: number) => ReturnType<typeof floatNode>
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

const kept = (x: ReturnType<typeof floatNode>, axis: number): ReturnType<typeof floatNode> => {
  const sums = Site.emit("logsumexp", [x], { axis })
  const shape = x.type.shape.map((d, i) => (i === axis ? one : d))
  return Site.emit("reshape", [sums], { shape })
}

/** The logarithm of `softmax`: x minus the log-sum-exp of its row. */
export const logSoftmax = alongAxis("logSoftmax", (x, axis) => Site.emit("sub", [x, kept(x, axis)], {}))
