import type * as Node from "../ir/Node.ts"
import type { Diagnostic } from "./Diagnostic.ts"
import * as Fusion from "./Fusion.ts"
import { lineage } from "./lineage.ts"
import type { Count } from "./Statistics.ts"

/**
 * A decision to fuse, with the rules that led to it, and with formulas that are worked out only for those who ask. `nodes` are the contraction
 * that is replaced: as the pass was given it, and over operands that are rebuilt already.
 */
export const describeFusion = (
  said: Diagnostic,
  flash: Node.NodeOf<"flash_attention">,
  nodes: ReadonlyArray<Node.Node>,
  { trail }: Count
): Diagnostic => {
  const rebuilt = nodes.at(-1)
  const behind = rebuilt === undefined ? [] : lineage(rebuilt, flash.operands)
  const steps = trail?.of([...nodes, ...behind]) ?? []
  let fusion: Fusion.Fusion | undefined
  return {
    ...said,
    steps,
    get fusion() {
      fusion ??= Fusion.make(flash)
      return fusion
    }
  }
}
