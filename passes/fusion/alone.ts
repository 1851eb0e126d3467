import { Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import * as Graph from "../../ir/Graph.ts"
import type * as Node from "../../ir/Node.ts"
import type { Refusal } from "./Attention.ts"
import { type Fused, fuse, type Trial } from "./fuse.ts"
import * as Log from "./Log.ts"
import { isTransparent } from "./nearSoftmax.ts"
import { findColumns, findRows, findStatistic, type OfScores, statisticOf } from "./outputs.ts"
import * as rearrange from "./rearrange.ts"
import { isOverTokens } from "./unnormalised.ts"
import * as Walk from "./Walk.ts"

/** Attention that stands without a contraction with values: statistics of scores, and sums of weights over keys or over queries. */

type Tried = Result.Result<Fused, Refusal | undefined>

const given = (fused: Fused, node: Node.Node): Node.Node => rearrange.cast(fused.result, node.type.dtype)

/** A statistic of scores, or a sum of a function of them, by itself. */
export const ofRows = (node: Node.Node, trial: Trial): Tried => {
  const walk = Walk.make()
  const statistic = statisticOf(node)
  const found =
    statistic === undefined
      ? node.op === "reduce_sum"
        ? findRows(walk, node)
        : Result.fail(undefined)
      : findStatistic(walk, node, statistic)
  return Result.flatMap(found, (attention) =>
    fuse(walk, attention, statistic?.output ?? "result", node.type.dtype, trial, (n) => isOfRows(n, trial))
  )
}

/** Whether a node is computed from scores without having them in memory. */
export const isOfRows = (node: Node.Node, trial: Trial): boolean => {
  if (node.op !== "logsumexp" && node.op !== "reduce_max" && node.op !== "reduce_sum") return false
  const tried = ofRows(node, trial)
  return Result.isSuccess(tried) && isOverTokens(tried.success.found)
}

/** A sum over queries of weights. */
const ofColumns = (node: Node.Node, trial: Trial): Tried => {
  if (node.op !== "reduce_sum") return Result.fail(undefined)
  const walk = Walk.make()
  return Result.flatMap(findColumns(walk, node), ({ attention, sums }) =>
    [...sums].every((n) => Result.isSuccess(ofRows(n, trial)))
      ? fuse(walk, attention, "result", node.type.dtype, trial, (n) => sums.has(n))
      : Result.fail(undefined)
  )
}

/** What outputs are computed from without passing some nodes. */
const reached = (graph: Graph.Graph, without: ReadonlySet<Node.Node>): ReadonlySet<Node.Node> => {
  const seen = new Set<Node.Node>()
  const stack = graph.outputs.map((o) => o.node)
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (seen.has(node)) continue
    seen.add(node)
    if (!without.has(node)) stack.push(...node.operands)
  }
  return seen
}

/** Puts attention in the place of candidates whose scores nobody else has in memory anyway. */
const replace = (
  graph: Graph.Graph,
  candidates: ReadonlyArray<Node.Node>,
  attend: (node: Node.Node, trial: Trial) => Tried,
  isMeant: (fused: Fused, node: Node.Node) => boolean,
  /** What must not be in memory: scores, or weights. */
  scoresOf: (fused: Fused, node: Node.Node) => ReadonlyArray<Node.Node>,
  log: Log.Log,
  mostHeadSize: number
): Graph.Graph => {
  if (candidates.length === 0) return graph
  const numbers = new Map(graph.nodes.map((n, i) => [n, i] as const))
  const found = new Map<Node.Node, Fused>()
  for (const node of candidates) {
    const tried = attend(node, { numbers, mostHeadSize })
    if (Result.isSuccess(tried) && isMeant(tried.success, node)) found.set(node, tried.success)
  }
  const live = reached(graph, new Set(found.keys()))
  for (const [node, fused] of found)
    if (!live.has(node) || scoresOf(fused, node).some((x) => live.has(x))) found.delete(node)
  if (found.size === 0) return graph
  const met = new Map<Node.Node, number>()
  return Graph.transform(
    graph,
    (node, _, original) => {
      met.set(node, met.size)
      const known = found.get(original)
      if (known === undefined) return node
      // A sum is known by the maximum in it, which is rebuilt already.
      const same = node === original || statisticOf(original)?.output === "sum"
      const tried = same ? Result.succeed(known) : attend(node, { numbers: met, mostHeadSize })
      if (Result.isFailure(tried)) return node
      Log.fused(log, tried.success, [original, node])
      log.count("attention")
      return given(tried.success, node)
    },
    log.follow
  )
}

/** Sums over queries of softmax weights that nobody else reads. */
export const columns = (graph: Graph.Graph, log: Log.Log, mostHeadSize: number): Graph.Graph => {
  const carriers = new Set<Node.Node>()
  const found: Array<Node.Node> = []
  for (const node of graph.nodes) {
    const reads = node.operands.some((o) => carriers.has(o))
    if (node.op === "softmax" || (isTransparent(node) && reads)) carriers.add(node)
    else if (node.op === "reduce_sum" && reads) found.push(node)
  }
  const softmaxes = (_: Fused, node: Node.Node): ReadonlyArray<Node.Node> => {
    const seen = new Set([node])
    for (const next of seen)
      if (next === node || (isTransparent(next) && carriers.has(next)))
        for (const o of next.operands) seen.add(o)
    return [...seen].filter((n) => n.op === "softmax")
  }
  return replace(graph, found, ofColumns, () => true, softmaxes, log, mostHeadSize)
}

/** The maxima and sums of rows that softmax weights come from: whatever a softmax is over, a sum over its queries is one of columns. */
const normalising = (graph: Graph.Graph): ReadonlySet<Node.Node> => {
  const all = graph.nodes.flatMap((node) => {
    const statistic = statisticOf(node)
    return statistic === undefined || statistic.output === "lse" ? [] : [{ node, ...statistic }]
  })
  const sums = all.filter(({ output }) => output === "sum")
  const isOfSum = (x: OfScores): boolean => sums.some((s) => s.scores === x.scores && s.axis === x.axis)
  return new Set(all.filter(isOfSum).map(({ node }) => node))
}

/** A maximum or sum of rows that attention gives: what reads it with scores is their softmax. */
const isOfAttention = (node: Node.Node): boolean =>
  node.op === "flash_attention" && node.attrs.output !== "result"

/** Statistics and sums of rows of scores that nobody else reads. */
export const rows = (graph: Graph.Graph, log: Log.Log, mostHeadSize: number): Graph.Graph => {
  /** What contractions reach, and whether one of them counts a batch or is normalised, as those of tokens with tokens are. */
  const carriers = new Map<Node.Node, boolean>()
  const found: Array<Node.Node> = []
  const ofSoftmax = normalising(graph)
  for (const node of graph.nodes) {
    if (node.op === "dot") carriers.set(node, node.attrs.lhsBatch.length > 0)
    else if (isOfAttention(node)) carriers.set(node, true)
    const reads = node.operands.flatMap((o) => carriers.get(o) ?? [])
    if (reads.length === 0) continue
    if (isTransparent(node)) carriers.set(node, reads.includes(true))
    else if (node.op === "logsumexp" || node.op === "reduce_max" || node.op === "reduce_sum") {
      const axis = node.op === "logsumexp" ? node.attrs.axis : node.attrs.axes[0]
      const one = node.op === "logsumexp" || node.attrs.axes.length === 1
      const length = axis === undefined ? undefined : node.operands[0]?.type.shape[axis]
      if (!one || length === undefined) continue
      if (reads.includes(true) || !Dim.isConstant(length) || ofSoftmax.has(node)) found.push(node)
    }
  }
  const contractions = ({ found: { terms } }: Fused) => terms.map((t) => t.contraction as Node.Node)
  const isMeant = (fused: Fused, node: Node.Node) =>
    ofSoftmax.has(node) || fused.captured.some(isOfAttention) || isOverTokens(fused.found)
  return replace(graph, found, ofRows, isMeant, contractions, log, mostHeadSize)
}
