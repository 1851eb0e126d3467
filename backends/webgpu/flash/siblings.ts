import { flashPartners } from "../../../ir/flashPartners.ts"
import type { Limits } from "../../../ir/Limits.ts"
import type * as Node from "../../../ir/Node.ts"
import type { Plan } from "../../Backend.ts"
import * as Epilogue from "../wgsl/epilogue.ts"

type Fused = Node.NodeOf<"fused">

/**
 * Kernels of one attention that are computed together, in one pass over K and V, with the first of them: its result, its
 * log-sum-exp, its maxima. Each result must follow its attention element by element, and the device bind all buffers at once.
 */
export const siblings = (
  { graph, schedules }: Pick<Plan, "graph" | "schedules">,
  limits: Limits
): ReadonlyMap<Node.Node, ReadonlyArray<Fused>> => {
  const groups = new Map<Node.Node, ReadonlyArray<Fused>>()
  for (const [node, first] of flashPartners(graph)) {
    if (node.op !== "fused" || first.op !== "fused") continue
    const group = [...(groups.get(first) ?? [first]), node]
    const schedule = schedules.get(first)
    const parts =
      schedule?.kind === "flash" && schedule.decodeRows === 0 && schedule.short === undefined ? 0 : 1
    const buffers = distinct(group.flatMap((n) => n.operands)).length + group.length + parts
    if (group.every(isDirect) && buffers <= limits.maxStorageBuffersPerShaderStage) groups.set(first, group)
  }
  return groups
}

const isDirect = ({ attrs: { body } }: Fused): boolean =>
  Epilogue.isDirect({ body, anchor: body.nodes.find((n) => n.op === "flash_attention") })

const distinct = (nodes: ReadonlyArray<Node.Node>): ReadonlyArray<Node.Node> => [...new Set(nodes)]
