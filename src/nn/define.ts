import type { Value } from "../../backends/Backend.ts"
import type { Inputs } from "../Compiled.ts"
import type { CompileOptions } from "../compile.ts"
import type { Definition } from "../define.ts"
import type { TensorsOf } from "../spec.ts"
import type { Returned, Signature } from "../trace.ts"
import type * as Layer from "./Layer.ts"
import * as Params from "./Params.ts"

/** A function that applies a layer, with the layer's parameters among its arguments. */
export interface LayerDefinition<S extends Signature, R extends Returned> extends Definition<Signature, R> {
  /** Arguments of a call: parameters, as `init` gives them or by name, on the host or on the device; and what else there is. */
  readonly inputs: (params: object, others: Inputs<S>) => Inputs<Signature>
}

const prefix = "params."

/**
 * A function that applies a layer, for `compile` or the command line:
 *
 *     const block = nn.define(layer, { x: spec("f32", ["B", "T", 64]) }, (apply, { x }) => apply({ query: x }).out)
 *     const f = yield* compile(block.fn, block.signature, block.options)
 *     const out = yield* f(block.inputs(layer.init(7), { x }))
 */
export const define = <P extends Params.Tree, I, O, const S extends Signature, const R extends Returned>(
  layer: Layer.Layer<P, I, O>,
  signature: S,
  body: (apply: (inputs: I) => O, inputs: TensorsOf<S>) => R,
  options: CompileOptions = {}
): LayerDefinition<S, R> => ({
  fn: (inputs) => {
    // What nests here is unknown to the type of a tree that is a parameter.
    const params: unknown = Params.nest(layer.params as Params.Param, inputs, prefix)
    return body((own) => layer.apply(params as Params.Tensors<P>, own), inputs as unknown as TensorsOf<S>)
  },
  signature: { ...Params.signature(layer.params, prefix), ...signature },
  options,
  inputs: (params, others) => ({
    ...Object.fromEntries(
      Object.entries(Params.flatten<Value>(params)).map(([name, x]) => [prefix + name, x])
    ),
    ...others
  })
})
