import type * as Key from "./Key.ts"
import * as Params from "./Params.ts"

/**
 * A layer: a pure function over parameters. It holds none: `params` says what they are, `init` draws them, `apply` builds the expression,
 * so that layers nest as records do and everything in them fuses.
 */
export interface Layer<P extends Params.Tree, Inputs, Output> {
  /** What the parameters are. Sizes are numbers. */
  readonly params: P
  /** Starting values. Each parameter is drawn from the key and its own name: another layer beside it changes nothing. */
  readonly init: (key: number | Key.Key) => Params.Values<P>
  readonly apply: (params: Params.Tensors<P>, inputs: Inputs) => Output
}

export const make = <const P extends Params.Tree, Inputs, Output>(
  params: P,
  apply: (params: Params.Tensors<P>, inputs: Inputs) => Output
): Layer<P, Inputs, Output> => ({ params, init: (key) => Params.init(params, key), apply })
