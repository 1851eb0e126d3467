import * as nn from "../../../src/nn/index.ts"
import type { Layer } from "../../../src/nn/Layer.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { type Bound, bound, type Dense, randomDense } from "../tensors.ts"

/** A layer with random parameters, and what its calls were given. */
export interface Prepared<I, O> {
  readonly values: { readonly [name: string]: Dense }
  readonly bounds: Array<Bound>
  /** An argument of a call. */
  readonly give: (x: Bound) => Tensor.Tensor
  readonly apply: (inputs: I) => O
}

/** Random parameters under a layer's own names, in float64. */
export const prepare = <P extends nn.Params.Tree, I, O>(layer: Layer<P, I, O>): Prepared<I, O> => {
  const wanted = Object.entries(nn.Params.flatten<nn.Params.Param>(layer.params))
  const values = Object.fromEntries(
    wanted.map(([name, p], n) => [name, randomDense(300 + n, p.spec.shape as ReadonlyArray<number>)])
  )
  const bounds: Array<Bound> = []
  const give = (x: Bound): Tensor.Tensor => {
    bounds.push(x)
    return x.tensor
  }
  const tensors = Object.fromEntries(
    Object.entries(values).map(([name, x]) => [name, give(bound("f64", x))] as const)
  )
  const params: unknown = nn.Params.nest(layer.params as nn.Params.Param, tensors)
  const apply = (layer as { readonly apply: unknown }).apply as (params: unknown, inputs: I) => O
  return { values, bounds, give, apply: (inputs) => apply(params, inputs) }
}
