import { Result } from "effect"
import * as Graph from "../ir/Graph.ts"
import type * as Node from "../ir/Node.ts"
import type * as Diagnostic from "./Diagnostic.ts"
import { describeFusion } from "./describeFusion.ts"
import type { Refusal } from "./fusion/Attention.ts"
import { axisOf } from "./fusion/contraction.ts"
import { type Fused, fuseWeights } from "./fusion/fuse.ts"
import { isTransparent, nearDivision, nearSoftmax, nearWeights } from "./fusion/nearSoftmax.ts"
import * as rearrange from "./fusion/rearrange.ts"
import { refused, report } from "./fusion/report.ts"
import type { Pass } from "./Pass.ts"
import * as Rule from "./Rule.ts"
import { movement } from "./rules/movement.ts"
import { attempt } from "./Statistics.ts"

/** Takes statistics of scores from the attention that computes them anyway. */
const shareSums = (
  graph: Graph.Graph,
  fused: ReadonlyArray<Fused>,
  count: (rule: string) => void
): Graph.Graph =>
  !graph.nodes.some((n) => n.op === "logsumexp" || n.op === "reduce_max")
    ? graph
    : Graph.transform(graph, (node, _, original) => {
        if (node.op !== "logsumexp" && (node.op !== "reduce_max" || node.attrs.axes.length !== 1)) return node
        const of = fused.find(
          ({ found: { softmax } }) =>
            softmax !== undefined &&
            softmax.node.operands[0] === original.operands[0] &&
            axisOf(softmax.node) === axisOf(node)
        )
        const found = of?.statistic(node.op === "logsumexp" ? "lse" : "max")
        if (found === undefined) return node
        count(node.op === "logsumexp" ? "sum-is-shared" : "maximum-is-shared")
        return rearrange.cast(found, node.type.dtype)
      })

/**
 * Replaces softmax(f(Q Kᵀ)) V by `flash_attention`. Recognition is by meaning: the element of the scores is written as a scalar
 * expression of its position, and what it says about q, k and the position is what the node gets.
 */
export const fuseAttention: Pass = {
  name: "fuse-attention",
  summary: "dot, score, mask, softmax, dot becomes flash_attention, or a refusal with its reason",
  from: "traced",
  to: "attention",
  run: (graph, { count }) => {
    const diagnostics: Array<Diagnostic.Diagnostic> = []
    /** Rebuilt nodes that softmax weights reach without a contraction or reduction between. */
    const carriers = new Set<Node.Node>()
    /** The same of what is nearly a softmax. */
    const near = new Map<Node.Node, Refusal>()
    const numbers = new Map<Node.Node, number>()
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
      if (divided !== undefined) diagnostics.push(refused(original, divided))
      if (node.op !== "dot") return node
      const sides = ([0, 1] as const).filter((side) => carriers.has(node.operands[side] as Node.Node))
      const tried = sides.map((side) =>
        attempt(count, "attention", () => fuseWeights(node, side, numbers), Result.isSuccess)
      )
      const fused = tried.find(Result.isSuccess)
      if (fused !== undefined) {
        count("attention")
        for (const one of fused.success.fused) {
          const said = describeFusion(report(one), one.flash, [original, node], count)
          for (const rule of said.rules ?? []) count(rule)
          diagnostics.push(said)
          sums.push(one)
        }
        return fused.success.result
      }
      const [failure] = tried
      const missed = node.operands.map((o) => near.get(o)).find((r) => r !== undefined)
      if (failure !== undefined && Result.isFailure(failure))
        diagnostics.push(refused(original, failure.failure))
      else if (missed !== undefined) diagnostics.push(refused(original, missed))
      return node
    }
    const result = Graph.transform(graph, step, count.trail?.follow)
    // Views that led to the weights now meet those that lead away from the node: one does for both.
    const tidy = Rule.rewrite(shareSums(result, sums, count), movement, count)
    return { graph: tidy, diagnostics }
  }
}
