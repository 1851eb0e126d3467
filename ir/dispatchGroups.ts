import { anchors } from "./anchors.ts"
import * as ContractionSum from "./ContractionSum.ts"
import type * as Dim from "./Dim.ts"
import type { Graph } from "./Graph.ts"
import { isUpdate } from "./KernelBody.ts"
import type { Node, NodeOf } from "./Node.ts"
import * as Shape from "./Shape.ts"

type Fused = NodeOf<"fused">

/** Kernels of one dispatch: bounds the text of a shader. */
const mostMembers = 4

interface Group {
  readonly first: Fused
  readonly kind: string
  readonly step: number
  readonly operands: Set<Node>
  size: number
}

/**
 * Kernels of one kind that need nothing of each other, such as the projections of one input: each but the first, with the first. A backend may
 * run them as one dispatch in place of the first, whose `most` buffers hold what all of them read and write: what they read is there by then.
 */
export const dispatchGroups = (graph: Graph, most: number): ReadonlyMap<Fused, Fused> => {
  const readers = new Map<Node, number>()
  for (const node of graph.nodes)
    for (const operand of new Set(node.operands)) readers.set(operand, (readers.get(operand) ?? 0) + 1)
  const firsts = new Map<Fused, Fused>()
  const groups: Array<Group> = []
  /** When a value is there. */
  const steps = new Map<Node, number>()
  graph.nodes.forEach((node, step) => {
    if (node.op !== "fused") {
      steps.set(node, -1)
      return
    }
    steps.set(node, step)
    const kind = kindOf(node, readers)
    if (kind === undefined) return
    const ready = Math.max(-1, ...node.operands.map((o) => steps.get(o) as number))
    const fits = (group: Group): boolean =>
      group.kind === kind &&
      group.step > ready &&
      group.size < mostMembers &&
      new Set([...group.operands, ...node.operands]).size + group.size + 1 <= most
    const group = groups.findLast(fits)
    if (group === undefined) {
      groups.push({ first: node, kind, step, operands: new Set(node.operands), size: 1 })
      return
    }
    firsts.set(node, group.first)
    steps.set(node, group.step)
    group.size++
    for (const operand of node.operands) group.operands.add(operand)
  })
  return firsts
}

/** A text that is equal for kernels whose workgroups are alike; undefined for one that is a dispatch by itself. */
const kindOf = (
  { operands, attrs: { body } }: Fused,
  readers: ReadonlyMap<Node, number>
): string | undefined => {
  const root = body.outputs[0]?.node
  const anchor = body.nodes.find((n) => anchors.has(n.op))
  if (ContractionSum.find(body) !== undefined) return undefined
  const target = isUpdate(root) ? root.operands[0] : undefined
  if (target?.op === "input") {
    // What is overwritten in place must not be read by a kernel that comes between.
    const updated = operands[body.inputs.indexOf(target)] as Node
    if (readers.get(updated) !== 1) return undefined
  }
  if (anchor === undefined) return "map"
  if (anchor.op === "flash_attention") return undefined
  const shape = anchor.operands[0]?.type.shape ?? []
  const key = (axes: ReadonlyArray<number>): string => Shape.size(axes.map((a) => shape[a] as Dim.Dim)).key
  if (anchor.op === "dot") {
    const taken = [...anchor.attrs.lhsBatch, ...anchor.attrs.lhsContract]
    return `rows of products ${key(shape.flatMap((_, axis) => (taken.includes(axis) ? [] : [axis])))}`
  }
  const axes = "axes" in anchor.attrs ? anchor.attrs.axes : "axis" in anchor.attrs ? [anchor.attrs.axis] : []
  return `rows of ${key(axes)}`
}
