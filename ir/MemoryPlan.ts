import type { Dim } from "./Dim.ts"
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
