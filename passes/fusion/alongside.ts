import * as DType from "../../ir/DType.ts"
import * as Graph from "../../ir/Graph.ts"
import type * as Node from "../../ir/Node.ts"
import type { Fused } from "./fuse.ts"
import type { Log } from "./Log.ts"
import { statisticOf, weights } from "./outputs.ts"
import * as rearrange from "./rearrange.ts"

/** Scores before they were widened to read them, which have the same statistics. */
const beforeWidening = (x: Node.Node): Node.Node | undefined => {
  const from = x.op === "cast" ? x.operands[0] : undefined
  return from !== undefined && DType.promote(from.type.dtype, x.type.dtype) === x.type.dtype
    ? from
    : undefined
}

/**
 * What is asked of scores beside the result of attention: their log-sum-exp and maximum come from the same attention; weights that somebody
 * else reads are exponentials less the maximum over the sum, which the contraction that makes the scores writes, and no second softmax runs.
 */
export const alongside = (
  graph: Graph.Graph,
  all: ReadonlyArray<Fused>,
  { count, follow }: Log
): Graph.Graph => {
  const known = new Map<string, Fused>()
  const numbers = new Map(graph.nodes.map((n, i) => [n, i] as const))
  /** Scores that nobody reads any more are no node of the graph. */
  const keyOf = (scores: Node.Node | undefined, axis: number): string | undefined => {
    const number = scores && numbers.get(scores)
    return number === undefined ? undefined : `${number}:${axis}`
  }
  for (const fused of all) {
    const { softmax } = fused.found
    const key = softmax && keyOf(softmax.scores, softmax.axis)
    if (key !== undefined) known.set(key, fused)
  }
  const of = (scores: Node.Node, axis: number): Fused | undefined => {
    const keys = [keyOf(scores, axis), keyOf(beforeWidening(scores), axis)]
    return keys.flatMap((key) => (key === undefined ? [] : (known.get(key) ?? [])))[0]
  }
  const read = (node: Node.Node): Fused | undefined => {
    if (node.op === "softmax") return of(node.operands[0] as Node.Node, node.attrs.axis)
    const statistic = statisticOf(node)
    return statistic && of(statistic.scores, statistic.axis)
  }
  if (!graph.nodes.some((n) => read(n) !== undefined)) return graph
  /** Softmaxes with operands already rebuilt. */
  const rebuilt = new Map<Node.Node, Node.NodeOf<"softmax">>()
  return Graph.transform(
    graph,
    (node, _, original) => {
      if (node.op === "softmax") rebuilt.set(original, node)
      const behind = original.op === "slice" ? (original.operands[0] as Node.Node) : original
      const softmax = rebuilt.get(behind)
      const fused = read(behind)
      if (fused === undefined) return node
      if (softmax !== undefined) {
        const [max, sum] = [fused.statistic("max"), fused.statistic("sum")]
        const made = max && sum && weights(original, softmax, max, sum)
        if (made !== undefined) count("weights-from-sum")
        return made ?? node
      }
      if (behind !== original) return node
      const output = statisticOf(original)?.output
      const found = output && fused.statistic(output)
      if (found === undefined) return node
      count(output === "max" ? "maximum-is-shared" : "sum-is-shared")
      return rearrange.cast(found, node.type.dtype)
    },
    follow
  )
}
