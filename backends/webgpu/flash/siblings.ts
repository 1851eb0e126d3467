import { flashPartners } from "../../../ir/flashPartners.ts"
import * as Graph from "../../../ir/Graph.ts"
import type { Limits } from "../../../ir/Limits.ts"
import * as Node from "../../../ir/Node.ts"
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
    const parts = schedule?.kind === "flash" && schedule.decodeRows === 0 ? 0 : 1
    const buffers = distinct(group.flatMap((n) => n.operands)).length + group.length + parts
    if (group.every(isDirect) && buffers <= limits.maxStorageBuffersPerShaderStage) groups.set(first, group)
  }
  return groups
}

const isDirect = ({ attrs: { body } }: Fused): boolean =>
  Epilogue.isDirect({ body, anchor: body.nodes.find((n) => n.op === "flash_attention") })

const distinct = (nodes: ReadonlyArray<Node.Node>): ReadonlyArray<Node.Node> => [...new Set(nodes)]

/** The bodies of several kernels over one list of operands. */
export const overOneList = (
  group: ReadonlyArray<Node.Node>
): { readonly operands: ReadonlyArray<Node.Node>; readonly bodies: ReadonlyArray<Graph.Graph> } => {
  const operands = distinct(group.flatMap((n) => n.operands))
  const inputs = operands.map(
    ({ type }, i) => Node.make("input", [], { name: `a${i}`, type }) as Node.NodeOf<"input">
  )
  const bodies = group.flatMap((node) => {
    if (node.op !== "fused") return []
    const { body } = node.attrs
    const known = new Map<Node.Node, Node.Node>(
      body.inputs.map((input, i) => [
        input,
        inputs[operands.indexOf(node.operands[i] as Node.Node)] as Node.Node
      ])
    )
    return [
      Graph.transform(
        { inputs, outputs: body.outputs },
        (rebuilt, _, original) => known.get(original) ?? rebuilt
      )
    ]
  })
  return { operands, bodies }
}
