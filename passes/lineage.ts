import type * as Node from "../ir/Node.ts"
import { isView } from "./traits.ts"

/** As far as a report looks. */
const most = 400

/** What lies behind views and casts: where a person's own operand begins. */
const behindViews = (node: Node.Node): Node.Node => {
  let own = node
  while (isView(own) || own.op === "cast") own = own.operands[0] as Node.Node
  return own
}

/**
 * The nodes that attention stands for: from the contraction with the values down to its operands, these included. Without operands, down to
 * what the contraction's own operands are contracted from.
 */
export const lineage = (
  contraction: Node.Node,
  operands: ReadonlyArray<Node.Node> = []
): ReadonlyArray<Node.Node> => {
  const ends = new Set(operands.flatMap((o) => [o, behindViews(o)]))
  const found = new Set<Node.Node>([contraction])
  for (const node of found) {
    const isEnd = ends.has(node) || (operands.length === 0 && node.op === "dot" && node !== contraction)
    if (isEnd) continue
    for (const operand of node.operands) if (found.size < most) found.add(operand)
  }
  return [...found]
}
