import type * as Node from "../ir/Node.ts"
import type { Diagnostic } from "./Diagnostic.ts"
import * as Fusion from "./Fusion.ts"
import { lineage } from "./lineage.ts"
import type { Count } from "./Statistics.ts"

/** A decision to fuse, with the rules that led to it, and with formulas that are worked out only for those who ask. */
export const describeFusion = (
  said: Diagnostic,
  flash: Node.NodeOf<"flash_attention">,
  contraction: ReadonlyArray<Node.Node>,
  { trail }: Count
): Diagnostic => {
  const steps = trail?.of(contraction.flatMap((node) => lineage(node, flash.operands))) ?? []
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
