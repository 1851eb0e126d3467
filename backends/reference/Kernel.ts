import type { Bindings } from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { Node, NodeOf } from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"
import type { Precision, Value } from "./Value.ts"

/** What a kernel may know besides its operands. */
export interface Context {
  readonly sizes: Bindings
  readonly precision: Precision
  /** Computes one node from the values of its operands. */
  readonly compute: (node: Exclude<Node, NodeOf<"input">>, operands: ReadonlyArray<Value>) => Value
  /** Evaluates a region that is a whole graph, such as the body of `fused`. */
  readonly evaluate: (graph: Graph, inputs: ReadonlyArray<Value>) => ReadonlyArray<Value>
}

/**
 * Computes one node: the elements of its result in row-major order, as raw float64. The evaluator rounds and wraps them to the
 * dtype afterwards, for all ops in one place. `shape` is the shape of the result under the sizes of the call.
 */
export type Kernel<K extends OpName> = (
  node: NodeOf<K>,
  operands: ReadonlyArray<Value>,
  shape: ReadonlyArray<number>,
  context: Context
) => Float64Array

/** Kernels of some ops, as each family's file gives them. */
export type Kernels<Names extends OpName> = { readonly [K in Names]: Kernel<K> }
