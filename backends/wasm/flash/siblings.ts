import { flashPartners } from "../../../ir/flashPartners.ts"
import type { Graph } from "../../../ir/Graph.ts"
import type * as Node from "../../../ir/Node.ts"
import * as Epilogue from "../emit/epilogue.ts"

type Fused = Node.NodeOf<"fused">

/**
 * Kernels of one attention that are computed together, in one pass over K and V, with the first of them: its result, its
 * log-sum-exp, its maxima. Each result must follow its attention element by element.
 */
export const siblings = (graph: Graph): ReadonlyMap<Node.Node, ReadonlyArray<Fused>> => {
  const groups = new Map<Node.Node, ReadonlyArray<Fused>>()
  for (const [node, first] of flashPartners(graph)) {
    if (node.op !== "fused" || first.op !== "fused") continue
    if (isDirect(node) && isDirect(first)) groups.set(first, [...(groups.get(first) ?? [first]), node])
  }
  return groups
}

const isDirect = ({ attrs: { body } }: Fused): boolean =>
  Epilogue.isDirect({ body, anchor: body.nodes.find((n) => n.op === "flash_attention") })
