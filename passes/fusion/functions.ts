import { Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import * as Graph from "../../ir/Graph.ts"
import * as Node from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import { attempt } from "../Statistics.ts"
import { isOfRows } from "./alone.ts"
import { fuse } from "./fuse.ts"
import * as Log from "./Log.ts"
import { isTransparent } from "./nearSoftmax.ts"
import { find } from "./unnormalised.ts"
import * as Walk from "./Walk.ts"

const isSingle = (node: Node.Node): boolean => Dim.isOne(Shape.size(node.type.shape))

/** Steps that keep a contraction a contraction: a scale, a sign, a type. */
const isLinear = (node: Node.Node): boolean =>
  Node.specOf(node.op).family === "movement" ||
  node.op === "neg" ||
  node.op === "cast" ||
  ((node.op === "mul" || node.op === "div") && node.operands.some(isSingle))

/** Contractions whose operand is a function of what another contraction makes, by the sides that are. */
const candidates = (
  graph: Graph.Graph,
  refused: ReadonlySet<Node.Node>
): ReadonlyMap<Node.Node, ReadonlyArray<0 | 1>> => {
  /** Whether what a contraction made became something else on the way. */
  const carriers = new Map<Node.Node, boolean>()
  const found = new Map<Node.Node, ReadonlyArray<0 | 1>>()
  for (const node of graph.nodes) {
    if (node.op === "dot") {
      carriers.set(node, false)
      const sides = ([0, 1] as const).filter((side) => {
        const x = node.operands[side] as Node.Node
        const { lhsBatch, lhsContract, rhsContract } = node.attrs
        const summed = (side === 0 ? lhsContract : rhsContract).map((a) => x.type.shape[a] as Dim.Dim)
        // Hidden units of a layer have a known number and belong to no batch.
        const tokens = lhsBatch.length > 0 || summed.some((d) => !Dim.isConstant(d))
        return carriers.get(x) === true && tokens && DType.isFloat(x.type.dtype)
      })
      if (sides.length > 0 && !refused.has(node)) found.set(node, sides)
    } else if (isTransparent(node)) {
      const reads = node.operands.flatMap((o) => carriers.get(o) ?? [])
      if (reads.length > 0) carriers.set(node, reads.includes(true) || !isLinear(node))
    }
  }
  return found
}

/** Sums of values whose weights are a function of scores, other than a softmax. */
export const functions = (graph: Graph.Graph, log: Log.Log, mostHeadSize: number): Graph.Graph => {
  const tokens = candidates(graph, log.refused)
  if (tokens.size === 0) return graph
  const numbers = new Map<Node.Node, number>()
  const trial = { numbers, mostHeadSize }
  return Graph.transform(
    graph,
    (node, _, original) => {
      numbers.set(node, numbers.size)
      const sides = tokens.get(original)
      if (sides === undefined || node.op !== "dot") return node
      for (const side of sides) {
        const walk = Walk.make()
        const tried = attempt(
          log.count,
          "weights-without-softmax",
          () => {
            const found = find(walk, node, side)
            return found && fuse(walk, found, "result", node.type.dtype, trial, (n) => isOfRows(n, trial))
          },
          (result) => result !== undefined && Result.isSuccess(result)
        )
        if (tried === undefined) continue
        if (Result.isSuccess(tried)) {
          Log.fused(log, tried.success, [original, node])
          log.count("attention")
          return tried.success.result
        }
        log.say(Log.left(original, tried.failure))
      }
      return node
    },
    log.follow
  )
}
