import * as Dim from "../ir/Dim.ts"
import { choose, legal, withBuffers } from "../ir/flashBudget.ts"
import { anchorOf } from "../ir/KernelBody.ts"
import type { Limits } from "../ir/Limits.ts"
import { matmulSchedule } from "../ir/matmulSchedule.ts"
import type { Node, NodeOf } from "../ir/Node.ts"
import { parts } from "../ir/ops/flashAttention.ts"
import type * as Schedule from "../ir/Schedule.ts"
import * as Shape from "../ir/Shape.ts"
import { about, type Diagnostic } from "./Diagnostic.ts"
import type { Pass } from "./Pass.ts"
import { describe } from "./scheduleTable.ts"

/**
 * Cuts each kernel into workgroups and tiles by what the device has and what is known of its shapes. Lengths that are symbols
 * are unknown here: a schedule serves all of them.
 */
export const chooseSchedule: Pass = {
  name: "choose-schedule",
  summary: "limits and shapes become tiles; never changes a result",
  from: "kernels",
  to: "kernels",
  run: (graph, { limits, count }) => {
    const schedules = new Map<Node, Schedule.Schedule>()
    const diagnostics: Array<Diagnostic> = []
    if (limits.ownTiles === true) return { graph, diagnostics, schedules }
    for (const node of graph.nodes) {
      if (node.op !== "fused") continue
      const schedule = forKernel(node, limits)
      if (schedule === undefined) {
        diagnostics.push(noSchedule(node, limits))
        continue
      }
      schedules.set(node, schedule)
      count(schedule.kind)
      diagnostics.push({
        pass: "choose-schedule",
        outcome: "note",
        ...about(anchorOf(node.attrs.body) ?? node),
        nearest: describe(schedule)
      })
    }
    return { graph, diagnostics, schedules }
  }
}

const noSchedule = (node: NodeOf<"fused">, limits: Limits): Diagnostic => ({
  pass: "choose-schedule",
  outcome: "refused",
  ...about(anchorOf(node.attrs.body) ?? node),
  failed: `no tiles of attention with these head sizes fit ${limits.maxComputeWorkgroupStorageSize} bytes of workgroup memory and ${limits.maxComputeInvocationsPerWorkgroup} threads`,
  suggestion: "use constant head sizes of at most 256, or run unfuse-attention"
})

/** A schedule for one kernel; undefined where a device with these limits has none. */
const forKernel = (node: NodeOf<"fused">, limits: Limits): Schedule.Schedule | undefined => {
  const anchor = anchorOf(node.attrs.body)
  if (anchor === undefined) return { kind: "elementwise", threads: atMost(64, limits) }
  if (anchor.op === "flash_attention") return forAttention(anchor, node.operands.length, limits)
  if (anchor.op === "dot") {
    const products = node.attrs.body.nodes.filter((n) => n.op === "dot").length
    return forMatmul(anchor, products, limits)
  }
  const row = rowOf(anchor)
  // Threads of many rows that lie side by side read neighbours; those of one row would read far apart.
  const apart = row.between !== undefined && row.between >= 1024
  return { kind: "rows", threads: apart ? 1 : rowThreads(row.length, limits) }
}

/** The largest power of two that is at most `threads` and that the device can run. */
const atMost = (threads: number, limits: Limits): number =>
  2 ** Math.floor(Math.log2(Math.min(threads, limits.maxComputeInvocationsPerWorkgroup)))

/** Elements of a row and steps from one to the next, where they are known. */
const rowOf = (
  anchor: Node
): { readonly length: number | undefined; readonly between: number | undefined } => {
  const shape = anchor.operands[0]?.type.shape ?? []
  const axes = "axes" in anchor.attrs ? anchor.attrs.axes : "axis" in anchor.attrs ? [anchor.attrs.axis] : []
  return {
    length: Dim.value(Shape.size(axes.map((axis) => shape[axis] as Dim.Dim))),
    between: Dim.value(Shape.size(shape.slice(Math.max(-1, ...axes) + 1)))
  }
}

/** Threads for a row. Software devices lose more by barriers than they win by sharing a row; short rows do so everywhere. */
const rowThreads = (length: number | undefined, limits: Limits): number => {
  if (limits.kind === "cpu" || (length !== undefined && length <= 32)) return 1
  if (length === undefined) return atMost(128, limits)
  // Four elements for each thread at least.
  return atMost(Math.max(32, Math.min(256, length / 4)), limits)
}

const forMatmul = (dot: NodeOf<"dot">, products: number, limits: Limits): Schedule.Matmul => {
  const [lhs, rhs] = dot.operands as readonly [Node, Node]
  const { lhsBatch, lhsContract, rhsBatch, rhsContract } = dot.attrs
  const over = (x: Node, axes: ReadonlyArray<number>): number | undefined =>
    Dim.value(Shape.size(axes.map((axis) => x.type.shape[axis] as Dim.Dim)))
  const free = (x: Node, ...taken: ReadonlyArray<number>): number | undefined =>
    over(
      x,
      x.type.shape.flatMap((_, axis) => (taken.includes(axis) ? [] : [axis]))
    )
  const sizes = {
    batch: over(lhs, lhsBatch),
    rows: free(lhs, ...lhsBatch, ...lhsContract),
    columns: free(rhs, ...rhsBatch, ...rhsContract),
    depth: over(lhs, lhsContract)
  }
  return matmulSchedule(limits, sizes, products)
}

/** The tiles of attention are worked out next to their budget; what no device can run gets none. */
const forAttention = (
  flash: NodeOf<"flash_attention">,
  buffers: number,
  limits: Limits
): Schedule.Flash | undefined => {
  const [q, k] = flash.operands as readonly [Node, Node]
  const { terms, v } = parts(flash.operands, flash.attrs)
  const size = (x: Node, axis: number): number | undefined => Dim.value(x.type.shape[axis] as Dim.Dim)
  const isHeadSize = (n: number | undefined): n is number => n !== undefined && n >= 1 && n <= 256
  const D = terms.map((term) => size(term.q, 3)).filter(isHeadSize)
  const [E, heads, keyHeads] = [size(v, 3), size(q, 1), size(k, 1)]
  if (D.length < terms.length || !isHeadSize(E) || q.type.dtype === "f64") return undefined
  const group = heads === undefined || keyHeads === undefined || keyHeads === 0 ? undefined : heads / keyHeads
  const schedule = withBuffers(choose(limits, D, E, group), buffers, limits)
  return legal(schedule, limits, D, E, q.type.dtype, group) ? schedule : undefined
}
