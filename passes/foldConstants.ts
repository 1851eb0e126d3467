import * as DType from "../ir/DType.ts"
import * as Graph from "../ir/Graph.ts"
import * as Node from "../ir/Node.ts"
import * as Scalar from "../ir/Scalar.ts"
import { uniform } from "./Pattern.ts"
import { attempt, type Count } from "./Statistics.ts"

/** The value of an elementwise node whose operands are all constants of one value; undefined for any other node. */
export const folded = (node: Node.Node, builder: Graph.Builder): Node.Node | undefined => {
  const { scalar } = Node.specOf(node.op)
  if (node.operands.length === 0 || (scalar === undefined && node.op !== "cast")) return undefined
  const values = node.operands.map(uniform)
  if (values.some((v) => v === undefined)) return undefined
  const { dtype, shape } = node.type
  const from = (node.operands[0] as Node.Node).type.dtype
  const raw =
    scalar === undefined
      ? Scalar.cast(from, dtype)(values[0] as number)
      : node.op === "mul" && !DType.isFloat(dtype)
        ? // A product of integers has more digits than a float64 keeps.
          Math.imul(values[0] as number, values[1] as number)
        : scalar(...(values as ReadonlyArray<number>))
  const value = scalar === undefined ? raw : Scalar.wrap[dtype](integral(node, raw))
  const made = builder.add(
    "constant",
    [],
    { values: [value], type: { dtype, shape: [] } },
    { at: node.at, label: node.label }
  )
  return (shape.length === 0
    ? made
    : builder.add("broadcast", [made as unknown as Node.Node], { shape })) as unknown as Node.Node
}

/** Integer arithmetic by 0 gives 0. */
const integral = (node: Node.Node, raw: number): number =>
  (node.type.dtype === "i32" || node.type.dtype === "u32") && !Number.isFinite(raw) ? 0 : raw

/** Computes what does not depend on the inputs, where it is one number. */
export const foldConstants = (graph: Graph.Graph, count: Count): Graph.Graph =>
  Graph.transform(
    graph,
    (node, builder) => {
      const result = attempt(count, "fold-constants", () => folded(node, builder))
      if (result === undefined) return node
      count("fold-constants")
      count.trail?.applied("fold-constants", node, result)
      return result
    },
    count.trail?.follow
  )
