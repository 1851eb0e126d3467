import * as Dim from "../ir/Dim.ts"
import type * as Graph from "../ir/Graph.ts"
import type * as Node from "../ir/Node.ts"
import type { OpName } from "../ir/ops.ts"

export type Add = <K extends OpName>(
  op: K,
  operands: ReadonlyArray<Node.Node>,
  attrs: Node.AttrsOf<K>
) => Node.Node

/** An i32 scalar that is a polynomial of lengths. */
export const integer = (add: Add, d: Dim.Dim): Node.Node => {
  const value = Dim.value(d)
  return value === undefined
    ? add("dim", [], { value: d })
    : add("constant", [], { values: [value], type: { dtype: "i32", shape: [] } })
}

/** One element for each position, positions being i32 tensors that broadcast: a gather of the flattened tensor. */
const load = (add: Add, x: Node.Node, positions: ReadonlyArray<Node.Node>): Node.Node => {
  const { shape } = x.type
  if (shape.length === 0) return x
  const zero = integer(add, Dim.zero)
  const flat = positions.reduce<Node.Node | undefined>((sum, p, axis) => {
    const size = shape[axis] as Dim.Dim
    const last = integer(add, Dim.sub(size, Dim.one))
    const clamped = add("min", [add("max", [p, zero], {}), last], {})
    return sum === undefined ? clamped : add("add", [add("mul", [sum, integer(add, size)], {}), clamped], {})
  }, undefined) as Node.Node
  return add("gather", [add("reshape", [x], { shape: [Dim.product(shape)] }), flat], { axis: 0 })
}

/** A region as tensor operations: its scalars become tensors that broadcast, its loads become gathers. */
export const inline = (add: Add, region: Graph.Graph, inputs: ReadonlyArray<Node.Node>): Node.Node => {
  const made = new Map<Node.Node, Node.Node>(
    region.inputs.map((input, n) => [input as Node.Node, inputs[n] as Node.Node])
  )
  for (const node of region.nodes) {
    if (node.op === "input") continue
    const operands = node.operands.map((o) => made.get(o) as Node.Node)
    const [x, ...positions] = operands
    made.set(
      node,
      node.op === "load" && x !== undefined
        ? load(add, x, positions)
        : add(node.op, operands, node.attrs as never)
    )
  }
  const [output] = region.outputs
  return made.get((output as Graph.Output).node) as Node.Node
}
