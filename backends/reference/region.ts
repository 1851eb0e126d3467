import type { Graph } from "../../ir/Graph.ts"
import type * as Node from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import { elementwise, scalarOf } from "./elementwise.ts"
import type { Context } from "./Kernel.ts"
import { storing, type Value } from "./Value.ts"

/**
 * A region made ready for many calls: takes the scalar parameters, gives the outputs. The array it returns is reused by
 * the next call.
 */
export type Compiled = (...parameters: Array<number>) => Float64Array

/**
 * Compiles a rank-0 graph over scalars and captured tensors. Scalar nodes become steps over numbered slots; what reads no
 * scalar parameter is computed once, here.
 */
export const compile = (region: Graph, captures: ReadonlyArray<Value>, context: Context): Compiled => {
  const slots = new Float64Array(region.nodes.length)
  const slotOf = new Map(region.nodes.map((node, i) => [node, i] as const))
  const slot = (node: Node.Node): number => slotOf.get(node) as number
  const tensors = new Map<Node.Node, Value>()
  const steps: Array<() => void> = []
  const parameters = region.inputs.length - captures.length
  const varying = new Set<Node.Node>(region.inputs.slice(0, parameters))

  /** A node's value as a tensor: a scalar is read from its slot. */
  const valueOf = (node: Node.Node): Value =>
    tensors.get(node) ?? {
      dtype: node.type.dtype,
      shape: [],
      data: Float64Array.of(slots[slot(node)] as number)
    }

  /** The step of a node that has no faster one: the kernel of its op. */
  const general =
    (node: Exclude<Node.Node, Node.NodeOf<"input">>): (() => void) =>
    () => {
      const value = context.compute(node, node.operands.map(valueOf))
      if (value.shape.length === 0) slots[slot(node)] = value.data[0] as number
      else tensors.set(node, value)
    }

  const scalarStep = (node: Node.Node): (() => void) => {
    const scalar = scalarOf(node)
    const store = storing(node.type.dtype, context.precision)
    const [to, x, y, z] = [slot(node), ...node.operands.map(slot)] as [number, number, number?, number?]
    if (y === undefined) {
      return () => {
        slots[to] = store(scalar(slots[x] as number))
      }
    }
    if (z === undefined) {
      return () => {
        slots[to] = store(scalar(slots[x] as number, slots[y] as number))
      }
    }
    return () => {
      slots[to] = store(scalar(slots[x] as number, slots[y] as number, slots[z] as number))
    }
  }

  const loadStep = (node: Node.NodeOf<"load">): (() => void) => {
    const [x, ...positions] = node.operands
    const { data, shape } = valueOf(x as Node.Node)
    const strides = Shape.strides(shape)
    const from = positions.map(slot)
    const to = slotOf.get(node as Node.Node) as number
    if (data.length === 0) return () => {}
    return () => {
      let at = 0
      for (let axis = 0; axis < from.length; axis++) {
        const position = slots[from[axis] as number] as number
        at += Math.min(Math.max(position, 0), (shape[axis] as number) - 1) * (strides[axis] as number)
      }
      slots[to] = data[at] as number
    }
  }

  region.inputs.slice(parameters).forEach((input, i) => {
    const value = captures[i] as Value
    if (value.shape.length === 0) slots[slot(input)] = value.data[0] as number
    else tensors.set(input, value)
  })
  for (const node of region.nodes) {
    if (node.op === "input") continue
    const varies = node.operands.some((operand) => varying.has(operand))
    const scalars = node.operands.every((operand) => operand.type.shape.length === 0)
    const isElementwise = Object.hasOwn(elementwise, node.op) && scalars
    const constantTensor = node.op === "load" && !varying.has(node.operands[0] as Node.Node)
    const step = isElementwise ? scalarStep(node) : constantTensor ? loadStep(node) : general(node)
    if (varies) {
      varying.add(node)
      steps.push(step)
    } else step()
  }

  const results = region.outputs.map((output) => slot(output.node))
  const out = new Float64Array(results.length)
  return (...values) => {
    for (let i = 0; i < parameters; i++) slots[i] = values[i] as number
    for (let s = 0; s < steps.length; s++) (steps[s] as () => void)()
    for (let o = 0; o < results.length; o++) out[o] = slots[results[o] as number] as number
    return out
  }
}
