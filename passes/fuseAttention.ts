import { Result } from "effect"
import * as Dim from "../ir/Dim.ts"
import * as Graph from "../ir/Graph.ts"
import type * as Node from "../ir/Node.ts"
import * as TensorType from "../ir/TensorType.ts"
import * as Diagnostic from "./Diagnostic.ts"
import { type Attention, find, type Refusal } from "./fusion/attention.ts"
import { type Built, build } from "./fusion/build.ts"
import * as Element from "./fusion/Element.ts"
import { isTransparent, nearDivision, nearSoftmax, nearWeights } from "./fusion/nearSoftmax.ts"
import * as rearrange from "./fusion/rearrange.ts"
import * as Walk from "./fusion/Walk.ts"
import { classifyMask } from "./mask/classify.ts"
import type { Pass } from "./Pass.ts"
import * as Rule from "./Rule.ts"
import { movement } from "./rules/movement.ts"
import { attempt } from "./Statistics.ts"

const refused = (node: Node.Node, r: Refusal): Diagnostic.Diagnostic => ({
  pass: "fuse-attention",
  outcome: "refused",
  ...Diagnostic.about(node),
  ...(r.node.at === undefined ? {} : { at: r.node.at }),
  nearest: r.nearest,
  failed: `${r.failed} (${r.node.op} of ${TensorType.print(r.node.type)})`,
  suggestion: r.suggestion
})

const nothingSelects = (a: Attention): Refusal => ({
  node: a.k.arranged.node,
  nearest: "softmax of a contraction, contracted with values",
  failed: "the keys or the values depend on the query index, so no two queries share them",
  suggestion: "leave the query axis out of the keys and the values"
})

/** Whether a value is computed from another; `numbers` orders nodes by when they were met, operands first. */
const dependsOn = (value: Node.Node, on: Node.Node, numbers: ReadonlyMap<Node.Node, number>): boolean => {
  const first = numbers.get(on) ?? 0
  const seen = new Set<Node.Node>()
  const stack = [value]
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node === on) return true
    // What was met before the other node cannot depend on it.
    if (seen.has(node) || (numbers.get(node) ?? first) < first) continue
    seen.add(node)
    stack.push(...node.operands)
  }
  return false
}

const needsScores = (value: Node.Node, changed: "scores" | "weights"): Refusal => ({
  node: value,
  nearest: "softmax of a contraction, contracted with values",
  failed: `the ${changed} are changed by ${value.op}, which is computed from the scores themselves`,
  suggestion:
    "a maximum that is subtracted needs no writing: softmax does it; other statistics need the scores in memory"
})

/** Weights are multiplied, and columns without values have logits, by what is known before the scores are. */
const knowsItsScore = ({ node }: Attention, isWeight: boolean): Refusal => ({
  node,
  nearest: "softmax weights contracted with values",
  failed: `${isWeight ? "the weights are multiplied by a function" : "a column without a value has a logit that is a function"} of the scores`,
  suggestion: "use factors and dropout masks that are known before the scores"
})

/** Kernels lay out their tiles by the head size when they are compiled, and hold one row of a head at a time. */
const mostHeadSize = 256

/** The head size that no attention kernel takes, or undefined. Such attention runs by its parts. */
const unfitHead = (flash: Node.NodeOf<"flash_attention">): Refusal | undefined => {
  const node = flash.operands.slice(0, 3).find((x) => {
    const size = Dim.value(x.type.shape[3] as Dim.Dim)
    return size === undefined || size < 1 || size > mostHeadSize
  })
  if (node === undefined) return undefined
  return {
    node,
    nearest: "flash_attention",
    failed: `its head size is ${Dim.print(node.type.shape[3] as Dim.Dim)}, kernels take numbers from 1 to ${mostHeadSize}`,
    suggestion: `write the head size as a number up to ${mostHeadSize} in the signature`
  }
}

interface Fused extends Built {
  readonly found: Attention
}

/** What was fused and by what, for people. */
const report = ({ found, flash }: Fused): Diagnostic.Diagnostic => {
  const [q, k, v] = flash.operands as readonly [Node.Node, Node.Node, Node.Node]
  const [heads, keyHeads] = [q, k].map((x) => x.type.shape[1] as Dim.Dim) as [Dim.Dim, Dim.Dim]
  const group = Dim.divideExact(heads, keyHeads) as Dim.Dim
  const { score, mask, fill, sink, probability } = flash.attrs
  const steps = score.nodes.filter((n) => n.op !== "input" && n.op !== "constant").map((n) => n.op)
  const parts = [
    `flash_attention of q ${TensorType.print(q.type)}, k ${TensorType.print(k.type)}, v ${TensorType.print(v.type)}`,
    ...(Dim.isOne(group) ? [] : [`${Dim.print(group)} query heads for each key head`]),
    ...(steps.length === 0
      ? []
      : [`logits go through ${steps.length > 8 ? `${steps.length} steps` : steps.join(", ")}`]),
    ...(mask === undefined
      ? []
      : [`mask: ${classifyMask(mask)}${fill === -Infinity ? "" : `, ${fill} elsewhere`}`]),
    ...(sink === undefined ? [] : ["a sink in the sum"]),
    ...(probability === undefined ? [] : ["a factor on the weights"])
  ]
  const used: ReadonlyArray<readonly [string, boolean]> = [
    ["scale-of-queries", found.q.factors.length > 0],
    ["scale-of-keys", found.k.factors.length > 0],
    ["scale-of-values", found.v.factors.length > 0],
    ["group-of-heads", !Dim.isOne(group)],
    ["infinity-is-a-mask", mask !== undefined && fill === -Infinity],
    ["fill-is-kept", fill !== -Infinity],
    ["columns-without-values", sink !== undefined],
    ["factor-on-weights", probability !== undefined]
  ]
  return {
    pass: "fuse-attention",
    outcome: "fused",
    ...Diagnostic.about(found.softmax),
    ...(found.softmax.at === undefined && found.node.at !== undefined ? { at: found.node.at } : {}),
    into: parts.join("; "),
    rules: used.flatMap(([name, holds]) => (holds ? [name] : []))
  }
}

/** The node that takes the place of a contraction of weights with values, or why there is none. */
const fuse = (
  node: Node.NodeOf<"dot">,
  side: 0 | 1,
  numbers: ReadonlyMap<Node.Node, number>
): Result.Result<Fused, Refusal> =>
  Result.gen(function* () {
    const walk = Walk.make()
    const found = yield* find(walk, node, side)
    const read = [found.weight, ...found.sinks].find((e) =>
      Element.reachable(walk.table, [e]).some(found.isLogit)
    )
    if (read !== undefined) return yield* Result.fail(knowsItsScore(found, read === found.weight))
    const built = build(walk, found)
    if (built === undefined) return yield* Result.fail(nothingSelects(found))
    const circular = built.captured.find((c) => dependsOn(c, found.contraction, numbers))
    if (circular !== undefined) {
      const reads = (e: Element.Element) => e._tag === "load" && e.of === circular
      const inWeights = Element.reachable(walk.table, [found.weight]).some(reads)
      return yield* Result.fail(needsScores(circular, inWeights ? "weights" : "scores"))
    }
    const unfit = unfitHead(built.flash)
    if (unfit !== undefined) return yield* Result.fail(unfit)
    return { ...built, found }
  })

/** Takes the log-sum-exp of scores from the attention that computes it anyway. */
const shareSums = (
  graph: Graph.Graph,
  fused: ReadonlyArray<Fused>,
  count: (rule: string) => void
): Graph.Graph => {
  if (!graph.nodes.some((n) => n.op === "logsumexp")) return graph
  return Graph.transform(graph, (node, _, original) => {
    if (node.op !== "logsumexp") return node
    const of = fused.find(
      ({ found: { softmax } }) =>
        softmax.operands[0] === original.operands[0] && softmax.attrs.axis === node.attrs.axis
    )
    const lse = of?.lse()
    if (lse === undefined) return node
    count("sum-is-shared")
    return rearrange.cast(lse, node.type.dtype)
  })
}

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
    const result = Graph.transform(graph, (node, _, original) => {
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
        attempt(count, "attention", () => fuse(node, side, numbers), Result.isSuccess)
      )
      const fused = tried.find(Result.isSuccess)
      if (fused !== undefined) {
        count("attention")
        const said = report(fused.success)
        for (const rule of said.rules ?? []) count(rule)
        diagnostics.push(said)
        sums.push(fused.success)
        return fused.success.result
      }
      const [failure] = tried
      const missed = node.operands.map((o) => near.get(o)).find((r) => r !== undefined)
      if (failure !== undefined && Result.isFailure(failure))
        diagnostics.push(refused(original, failure.failure))
      else if (missed !== undefined) diagnostics.push(refused(original, missed))
      return node
    })
    // Views that led to the weights now meet those that lead away from the node: one does for both.
    const tidy = Rule.rewrite(shareSums(result, sums, count), movement, count)
    return { graph: tidy, diagnostics }
  }
}
