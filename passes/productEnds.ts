import * as Graph from "../ir/Graph.ts"
import { isUpdate } from "../ir/KernelBody.ts"
import type { Node, NodeOf } from "../ir/Node.ts"
import * as traits from "./traits.ts"

/** What becomes of a contraction whose columns are read in parts, until the parts meet again or somebody else reads them. */
export interface ProductEnds {
  readonly dot: NodeOf<"dot">
  /** Where what is computed of elements alone ends. */
  readonly ends: ReadonlySet<Node>
  /** The contraction, its ends and what lies between. */
  readonly between: ReadonlySet<Node>
}

/** Nodes between a contraction and its ends. */
const mostBetween = 96

const isBetween = (node: Node): boolean =>
  traits.isElementwise(node) ||
  node.op === "reshape" ||
  node.op === "transpose" ||
  node.op === "slice" ||
  node.op === "concat"

/** The contractions of a graph that are read in parts, where a kernel for each end saves one for what follows. */
export const productEnds = (graph: Graph.Graph): ReadonlyArray<ProductEnds> => {
  const ids = new Map(graph.nodes.map((n, i) => [n, i] as const))
  const users = Graph.users(graph)
  const outputs = new Set(graph.outputs.map((o) => o.node))
  const usersOf = (node: Node): ReadonlyArray<Node> => users.get(node) as ReadonlyArray<Node>
  const goesOn = (node: Node): boolean => !outputs.has(node) && usersOf(node).every(isBetween)
  const endsOf = (dot: NodeOf<"dot">): ProductEnds | undefined => {
    const between = new Set<Node>([dot])
    const ends = new Set<Node>()
    const slices = new Set<Node>()
    /** What slices are used for. */
    const behind = new Set<Node>()
    const waiting = new Set(goesOn(dot) ? usersOf(dot) : [])
    while (waiting.size > 0 && between.size < mostBetween) {
      const node = [...waiting].reduce((a, b) => ((ids.get(a) as number) < (ids.get(b) as number) ? a : b))
      waiting.delete(node)
      if (node.op === "concat" && !node.operands.every((o) => between.has(o))) {
        // What stands beside something else, as keys behind those of a cache, is there before.
        for (const operand of node.operands) if (between.has(operand)) ends.add(operand)
        continue
      }
      between.add(node)
      if (node.op === "slice") slices.add(node)
      if (node.operands.some((o) => slices.has(o) || behind.has(o))) behind.add(node)
      const meets = ends.size === 0 && waiting.size === 0 && slices.size > 1
      if (meets || !goesOn(node)) ends.add(node)
      else for (const user of usersOf(node)) waiting.add(user)
    }
    if (slices.size < 2 || waiting.size > 0) return undefined
    // Views alone fold into whoever reads them.
    const computes = [...behind].some((node) => !traits.isView(node))
    const isWritten = [...ends].some((end) => outputs.has(end) || usersOf(end).some(isUpdate))
    return ends.size === 1 || computes || isWritten ? { dot, ends, between } : undefined
  }
  return graph.nodes.flatMap((node) => {
    const found = node.op === "dot" ? endsOf(node) : undefined
    return found === undefined ? [] : [found]
  })
}
