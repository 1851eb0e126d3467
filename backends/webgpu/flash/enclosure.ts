import * as Dim from "../../../ir/Dim.ts"
import type { Graph, Output } from "../../../ir/Graph.ts"
import * as Node from "../../../ir/Node.ts"
import * as Scalar from "../../../ir/Scalar.ts"

/** The least and the greatest value that an expression may have; equal where it is known. */
interface Enclosure {
  readonly least: number
  readonly most: number
}

const anything: Enclosure = { least: -Infinity, most: Infinity }

const exactly = (value: number): Enclosure => ({ least: value, most: value })

/**
 * What the results of a region over i32 parameters may be, whatever the data that it loads, and whatever a parameter is that is not given: minima
 * and maxima with a known number still bound what is not known.
 */
export const enclose = (
  region: Graph,
  parameters: ReadonlyArray<number | undefined>,
  sizes: Dim.Bindings
): ReadonlyArray<Enclosure> => {
  const values = new Map<Node.Node, Enclosure>(
    parameters.map((value, n) => [
      region.inputs[n] as Node.Node,
      value === undefined ? anything : exactly(value)
    ])
  )
  for (const node of region.nodes) if (!values.has(node)) values.set(node, valueOf(node, values, sizes))
  return region.outputs.map((o: Output) => values.get(o.node) as Enclosure)
}

const valueOf = (
  node: Node.Node,
  values: ReadonlyMap<Node.Node, Enclosure>,
  sizes: Dim.Bindings
): Enclosure => {
  if (node.op === "constant") return exactly(node.attrs.values[0] as number)
  if (node.op === "dim") return exactly(Dim.evaluate(node.attrs.value, sizes))
  if (node.op === "input" || node.op === "load") return anything
  const operands = node.operands.map((o) => values.get(o) as Enclosure)
  if (operands.every((o) => o.least === o.most))
    return computed(
      node,
      operands.map((o) => o.least)
    )
  const [x, y, z] = operands as [Enclosure, Enclosure, Enclosure]
  switch (node.op) {
    case "min":
      return { least: Math.min(x.least, y.least), most: Math.min(x.most, y.most) }
    case "max":
      return { least: Math.max(x.least, y.least), most: Math.max(x.most, y.most) }
    case "select":
      if (x.least === x.most) return x.least === 0 ? z : y
      return { least: Math.min(y.least, z.least), most: Math.max(y.most, z.most) }
    default:
      return anything
  }
}

const computed = (node: Node.Node, operands: ReadonlyArray<number>): Enclosure => {
  const { dtype } = node.type
  const { scalar } = Node.specOf(node.op)
  if (node.op === "cast") {
    const from = (node.operands[0] as Node.Node).type.dtype
    return exactly(Scalar.cast(from, dtype)(operands[0] as number))
  }
  return scalar === undefined ? anything : exactly(Scalar.wrap[dtype](scalar(...operands)))
}
