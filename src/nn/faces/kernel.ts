import type { FloatDType } from "../../../ir/DType.ts"
import * as Tensor from "../../Tensor.ts"
import type * as Initialiser from "../Initialiser.ts"
import type { LinearParams } from "../linear.ts"
import * as Params from "../Params.ts"

/**
 * Projections as Keras, TensorFlow and Flax keep them, heads on axes of their own. Shapes: F features, N heads, D head size, O features out.
 * In: kernel [F, N, D], bias [N, D]. Out: kernel [N, D, O…], bias [O…].
 */
export type KernelParams = {
  readonly kernel: Params.Param
  readonly bias: Params.Param | undefined
}

/** What a kernel's start is told of it. Flax counts what a contraction sums over; Keras takes a kernel for that of a convolution. */
export const fans = {
  flax: (from: ReadonlyArray<number>, to: ReadonlyArray<number>): Initialiser.Fan => ({
    in: product(from),
    out: product(to)
  }),
  keras: (from: ReadonlyArray<number>, to: ReadonlyArray<number>): Initialiser.Fan => {
    const shape = [...from, ...to]
    const field = product(shape.slice(0, -2))
    return { in: field * (shape.at(-2) as number), out: field * (shape.at(-1) as number) }
  }
}

export interface Start {
  readonly fan: (from: ReadonlyArray<number>, to: ReadonlyArray<number>) => Initialiser.Fan
  readonly kernel: (fan: Initialiser.Fan) => Initialiser.Initialiser
  readonly bias: Initialiser.Initialiser
}

const product = (sizes: ReadonlyArray<number>): number => sizes.reduce((a, b) => a * b, 1)

/** `from` are the axes that a contraction sums over. */
export const params = (
  from: ReadonlyArray<number>,
  to: ReadonlyArray<number>,
  bias: boolean,
  dtype: FloatDType,
  start: Start
): KernelParams => ({
  kernel: Params.param(dtype, [...from, ...to], start.kernel(start.fan(from, to))),
  bias: bias ? Params.param(dtype, to, start.bias) : undefined
})

/** As [O, I] and [O]: views. `summed` is the number of axes that a contraction sums over. */
export const linearOf = (
  { kernel, bias }: Params.Tensors<KernelParams>,
  summed: number
): Params.Tensors<LinearParams> => {
  const from = product(kernel.shape.slice(0, summed) as ReadonlyArray<number>)
  const flat = Tensor.reshape(kernel as Tensor.Tensor, [from, -1])
  return {
    weight: Tensor.transpose(flat) as Tensor.Tensor,
    bias: bias === undefined ? undefined : (Tensor.reshape(bias as Tensor.Tensor, [-1]) as Tensor.Tensor)
  } as Params.Tensors<LinearParams>
}
