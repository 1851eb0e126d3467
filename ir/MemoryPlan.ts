import type { Graph } from "./Graph.ts"
import type { Node } from "./Node.ts"

/**
 * Whose memory results take. Intermediate values share one arena, laid out by their lives when the lengths of a call make them numbers of
 * bytes: that is the backends' part, which know the steps.
 */
export interface MemoryPlan {
  /** Results that overwrite the buffer of a donated input: node → index of the input. */
  readonly inPlace: ReadonlyMap<Node, number>
}

/** No result overwrites anything. */
export const none: MemoryPlan = { inPlace: new Map() }

/** The input whose memory a node's result takes where the call donates it; the node reads it for nothing else. */
export const donorOf = (memory: MemoryPlan, graph: Graph, node: Node): number | undefined => {
  const input = memory.inPlace.get(node)
  if (input === undefined || node.op !== "fused") return undefined
  return node.operands.filter((o) => o === graph.inputs[input]).length === 1 ? input : undefined
}
