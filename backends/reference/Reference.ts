import * as Dim from "../../ir/Dim.ts"
import { DTypeError, ShapeError } from "../../ir/errors.ts"
import * as Graph from "../../ir/Graph.ts"
import * as HostArray from "../../ir/HostArray.ts"
import type * as Node from "../../ir/Node.ts"
import { specOf } from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import * as TensorType from "../../ir/TensorType.ts"
import type { Context } from "./Kernel.ts"
import { kernels } from "./kernels.ts"
import * as Region from "./region.ts"
import * as Value from "./Value.ts"

export interface Options {
  /** "f32" rounds the result of every op to its dtype; "f64" keeps float64 until the outputs: the oracle. */
  readonly precision?: Value.Precision
}

/** One kernel for every op; the node says which attributes it gets. */
type AnyKernel = (
  node: Node.Node,
  operands: ReadonlyArray<Value.Value>,
  shape: ReadonlyArray<number>,
  context: Context
) => Float64Array

/** Computes the values of a graph's outputs, node by node in the graph's order. A value is dropped after its last use. */
const evaluateValues = (
  graph: Graph.Graph,
  inputs: ReadonlyArray<Value.Value>,
  context: Context,
  computed: (node: Node.Node) => void = () => {}
): ReadonlyArray<Value.Value> => {
  const uses = new Map<Node.Node, number>()
  const count = (node: Node.Node): void => {
    uses.set(node, (uses.get(node) ?? 0) + 1)
  }
  for (const node of graph.nodes) node.operands.forEach(count)
  for (const output of graph.outputs) count(output.node)

  const values = new Map<Node.Node, Value.Value>()
  graph.inputs.forEach((input, i) => {
    values.set(input, inputs[i] as Value.Value)
  })
  for (const node of graph.nodes) {
    if (node.op === "input") continue
    const operands = node.operands.map((operand) => values.get(operand) as Value.Value)
    values.set(node, context.compute(node, operands))
    computed(node)
    for (const operand of node.operands) {
      const left = (uses.get(operand) as number) - 1
      uses.set(operand, left)
      if (left === 0) values.delete(operand)
    }
  }
  return graph.outputs.map((output) => values.get(output.node) as Value.Value)
}

const contextOf = (sizes: Dim.Bindings, precision: Value.Precision): Context => {
  const context: Context = {
    sizes,
    precision,
    compute: (node, operands) => {
      const shape = Shape.evaluate(node.type.shape, sizes)
      const raw = (kernels[node.op] as AnyKernel)(node, operands, shape, context)
      // What only moves elements has no result to round; it may be the operand's own memory.
      const moved = specOf(node.op).facts.movement === true
      const data = moved ? raw : Value.settle(raw, node.type.dtype, precision)
      return { dtype: node.type.dtype, shape, data }
    },
    evaluate: (graph, inputs) => evaluateValues(graph, inputs, context)
  }
  return context
}

/** Checks arguments against the graph's inputs under the sizes, and what shape rules assumed. */
const check = (graph: Graph.Graph, inputs: ReadonlyArray<HostArray.HostArray>, sizes: Dim.Bindings): void => {
  if (inputs.length !== graph.inputs.length) {
    throw new ShapeError({ message: `the graph takes ${graph.inputs.length} inputs, not ${inputs.length}` })
  }
  graph.inputs.forEach(({ attrs, type }, i) => {
    const given = HostArray.validate(inputs[i] as HostArray.HostArray)
    const wanted = Shape.evaluate(type.shape, sizes)
    const described = `input ${JSON.stringify(attrs.name)} is ${TensorType.print(type)}, here ${type.dtype}[${wanted.join(", ")}]`
    const message = `${described}, not ${given.dtype}[${given.shape.join(", ")}]`
    if (given.dtype !== type.dtype) throw new DTypeError({ message })
    if (given.shape.length !== wanted.length || given.shape.some((size, axis) => size !== wanted[axis])) {
      throw new ShapeError({ message })
    }
  })
  for (const { left, relation, right, reason } of Graph.constraints(graph)) {
    const [l, r] = [Dim.evaluate(left, sizes), Dim.evaluate(right, sizes)]
    if (relation === "=" ? l !== r : l > r) {
      const [a, b] = [Dim.print(left), Dim.print(right)]
      throw new ShapeError({
        message: `${reason}: ${a} ${relation} ${b} does not hold for ${a} = ${l} and ${b} = ${r}`
      })
    }
  }
}

/**
 * The values of a graph's outputs, in their order, for inputs in the graph's order and a size for every symbol.
 * Any form: traced, attention, kernels. `computed` is told of each node when it has its value. Throws `ShapeError` or `DTypeError` where the inputs, the sizes and the graph do not agree.
 */
export const evaluate = (
  graph: Graph.Graph,
  inputs: ReadonlyArray<HostArray.HostArray>,
  sizes: Dim.Bindings,
  options: Options = {},
  computed?: (node: Node.Node) => void
): ReadonlyArray<HostArray.HostArray> => {
  check(graph, inputs, sizes)
  const context = contextOf(sizes, options.precision ?? "f32")
  return evaluateValues(graph, inputs.map(Value.fromHost), context, computed).map(Value.toHost)
}

/**
 * A region of attention as a function of its scalar parameters, with its captured tensors fixed: for tests and tools that look
 * at single positions. The array it returns is reused by the next call.
 */
export const region = (
  graph: Graph.Graph,
  captures: ReadonlyArray<HostArray.HostArray>,
  sizes: Dim.Bindings,
  options: Options = {}
): Region.Compiled =>
  Region.compile(graph, captures.map(Value.fromHost), contextOf(sizes, options.precision ?? "f32"))

/**
 * Sizes of the symbols that occur alone as an axis of an input, read off the arguments. Symbols that occur only in
 * polynomials are left out, and the first argument decides.
 */
export const bind = (graph: Graph.Graph, inputs: ReadonlyArray<HostArray.HostArray>): Dim.Bindings => {
  const sizes = new Map<string, number>()
  graph.inputs.forEach(({ type }, i) => {
    type.shape.forEach((dim, axis) => {
      const [name, ...more] = Dim.symbols(dim)
      const size = inputs[i]?.shape[axis]
      if (
        name !== undefined &&
        more.length === 0 &&
        dim.key === name &&
        size !== undefined &&
        !sizes.has(name)
      ) {
        sizes.set(name, size)
      }
    })
  })
  return Object.fromEntries(sizes)
}
