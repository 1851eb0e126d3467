import type * as Node from "../../ir/Node.ts"
import { about, type Diagnostic } from "../Diagnostic.ts"
import { describeFusion } from "../describeFusion.ts"
import type { Count } from "../Statistics.ts"
import type { Refusal } from "./Attention.ts"
import type { Fused } from "./fuse.ts"
import { report } from "./report.ts"

/** What the steps of a pass tell. */
export interface Log {
  readonly count: Count
  readonly say: (diagnostic: Diagnostic) => void
  /** Contractions that are nearly attention with a softmax, and were told why they are not. */
  readonly refused: Set<Node.Node>
  /** To be called for each node that another one takes the place of. */
  readonly follow: (from: Node.Node, to: Node.Node) => void
}

export const make = (count: Count, say: Log["say"]): Log => {
  const refused = new Set<Node.Node>()
  const follow: Log["follow"] = (from, to) => {
    count.trail?.follow(from, to)
    if (refused.has(from)) refused.add(to)
  }
  return { count, say, refused, follow }
}

/** Tells of attention that took the place of nodes. */
export const fused = ({ count, say }: Log, one: Fused, nodes: ReadonlyArray<Node.Node>): void => {
  const said = describeFusion(report(one), one.flash, nodes, count)
  for (const rule of said.rules ?? []) count(rule)
  say(said)
}

/** What might have been attention without a softmax, and stays as it was written. */
export const left = (node: Node.Node, { failed }: Refusal): Diagnostic => ({
  pass: "fuse-attention",
  outcome: "note",
  ...about(node),
  nearest: `weights without a softmax stay in memory: ${failed}`
})

/** Says which weights were contracted more than once: each time an attention, which reads queries and keys for itself. */
export const streams = ({ say }: Log, all: ReadonlyArray<Fused>): void => {
  const times = new Map<Node.Node, number>()
  for (const { found } of all)
    if (found.softmax !== undefined) times.set(found.softmax.node, (times.get(found.softmax.node) ?? 0) + 1)
  for (const [softmax, count] of times)
    if (count > 1)
      say({
        pass: "fuse-attention",
        outcome: "note",
        ...about(softmax),
        nearest: `${count} streams of values: an attention each, so queries and keys are read ${count} times`
      })
}
