import * as Graph from "../../../ir/Graph.ts"
import type * as Node from "../../../ir/Node.ts"
import * as TensorType from "../../../ir/TensorType.ts"

/** Graphs that are one step smaller and take the same arguments: a result less, or an operand in the place of a node. */
const smaller = function* (graph: Graph.Graph): Generator<Graph.Graph> {
  if (graph.outputs.length > 1) {
    for (const output of graph.outputs) yield Graph.make([output], graph.inputs)
  }
  for (const target of [...graph.nodes].reverse()) {
    for (const operand of new Set(target.operands)) {
      if (!TensorType.equals(operand.type, target.type)) continue
      yield Graph.transform(graph, (node, _, original) =>
        original === target ? (node.operands[target.operands.indexOf(operand)] as Node.Node) : node
      )
    }
  }
}

/** The smallest graph, by steps that each keep it failing. */
export const shrinkGraph = (graph: Graph.Graph, fails: (graph: Graph.Graph) => boolean): Graph.Graph => {
  for (const candidate of smaller(graph)) if (fails(candidate)) return shrinkGraph(candidate, fails)
  return graph
}
