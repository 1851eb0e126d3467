import { Result } from "effect"
import * as Graph from "../ir/Graph.ts"
import type * as Node from "../ir/Node.ts"
import type * as Diagnostic from "./Diagnostic.ts"
import type { Refusal } from "./fusion/Attention.ts"
import * as alone from "./fusion/alone.ts"
import { alongside } from "./fusion/alongside.ts"
import { functions } from "./fusion/functions.ts"
import { type Fused, fuseWeights } from "./fusion/fuse.ts"
import * as Log from "./fusion/Log.ts"
import { isTransparent, nearDivision, nearSoftmax, nearWeights } from "./fusion/nearSoftmax.ts"
import { mostHeadSize } from "./fusion/refusals.ts"
import { refused } from "./fusion/report.ts"
import type { Pass } from "./Pass.ts"
import * as Rule from "./Rule.ts"
import { movement } from "./rules/movement.ts"
import { attempt } from "./Statistics.ts"

/**
 * Replaces softmax(f(Q Kᵀ)) V by `flash_attention`. Recognition is by meaning: the element of the scores is written as a scalar
 * expression of its position, and what it says about q, k and the position is what the node gets.
 */
export const fuseAttention: Pass = {
  name: "fuse-attention",
  summary: "dot, score, mask, softmax, dot becomes flash_attention, or a refusal with its reason",
  from: "traced",
  to: "attention",
  run: (graph, { count, limits }) => {
    const diagnostics: Array<Diagnostic.Diagnostic> = []
    /** Rebuilt nodes that softmax weights reach without a contraction or reduction between. */
    const carriers = new Set<Node.Node>()
    /** The same of what is nearly a softmax. */
    const near = new Map<Node.Node, Refusal>()
    const numbers = new Map<Node.Node, number>()
    const most = mostHeadSize(limits)
    const trial = { numbers, mostHeadSize: most }
    const log = Log.make(count, (said) => void diagnostics.push(said))
    const sums: Array<Fused> = []
    const step = (node: Node.Node, _: Graph.Builder, original: Node.Node): Node.Node => {
      numbers.set(node, numbers.size)
      if (node.op === "softmax" || (isTransparent(node) && node.operands.some((o) => carriers.has(o))))
        carriers.add(node)
      const miss = isTransparent(node)
        ? (nearSoftmax(node) ?? node.operands.map((o) => near.get(o)).find((r) => r !== undefined))
        : nearWeights(node)
      if (miss !== undefined) near.set(node, miss)
      const divided = nearDivision(node)
      if (divided !== undefined) {
        log.refused.add(divided.product)
        diagnostics.push(refused(original, divided))
      }
      if (node.op !== "dot") return node
      const sides = ([0, 1] as const).filter((side) => carriers.has(node.operands[side] as Node.Node))
      const tried = sides.map((side) =>
        attempt(count, "attention", () => fuseWeights(node, side, trial), Result.isSuccess)
      )
      const fused = tried.find(Result.isSuccess)
      if (fused !== undefined) {
        count("attention")
        for (const one of fused.success.fused) {
          Log.fused(log, one, [original, node])
          sums.push(one)
        }
        return fused.success.result
      }
      const [failure] = tried
      const missed = node.operands.map((o) => near.get(o)).find((r) => r !== undefined)
      const why = failure !== undefined && Result.isFailure(failure) ? failure.failure : missed
      if (why !== undefined) {
        log.refused.add(node)
        diagnostics.push(refused(original, why))
      }
      return node
    }
    const attended = Graph.transform(graph, step, log.follow)
    Log.streams(log, sums)
    const shared = alongside(alone.columns(attended, log, most), sums, log)
    const result = alone.rows(functions(shared, log, most), log, most)
    // Views that led to the weights now meet those that lead away from the node: one does for both.
    const tidy = Rule.rewrite(result, movement, count)
    return { graph: tidy, diagnostics }
  }
}
