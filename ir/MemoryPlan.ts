import type { Dim } from "./Dim.ts"
import type { Graph } from "./Graph.ts"
import type { Node } from "./Node.ts"

/**
 * Where intermediate values live. A slot is one buffer; values whose lifetimes do not meet share it, and it is as large
 * as the largest of them under the bindings of a call.
 */
export interface MemoryPlan {
  readonly slots: ReadonlyArray<Slot>
  /** Slot of each value that is neither an input nor written straight to an output. */
  readonly slotOf: ReadonlyMap<Node, number>
  /** Results that overwrite the buffer of a donated input: node → index of the input. */
  readonly inPlace: ReadonlyMap<Node, number>
}

export interface Slot {
  /** Bytes of each value that shares the slot; its size is the largest. */
  readonly bytes: ReadonlyArray<Dim>
}

/** The input whose memory a node's result takes where the call donates it; the node reads it for nothing else. */
export const donorOf = (memory: MemoryPlan, graph: Graph, node: Node): number | undefined => {
  const input = memory.inPlace.get(node)
  if (input === undefined || node.op !== "fused") return undefined
  return node.operands.filter((o) => o === graph.inputs[input]).length === 1 ? input : undefined
}
