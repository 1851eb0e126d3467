import { choose } from "../ir/chooseFlash.ts"
import * as Dim from "../ir/Dim.ts"
import { withBuffers } from "../ir/flashBudget.ts"
import { legal } from "../ir/flashSchedules.ts"
import { wide } from "../ir/halfProducts.ts"
import { anchorOf } from "../ir/KernelBody.ts"
import type { Limits } from "../ir/Limits.ts"
import { matmulSchedule } from "../ir/matmulSchedule.ts"
import type { Node, NodeOf } from "../ir/Node.ts"
import { parts } from "../ir/ops/flashAttention.ts"
import { productsOf } from "../ir/products.ts"
import type * as Schedule from "../ir/Schedule.ts"
import * as Shape from "../ir/Shape.ts"
import * as TensorType from "../ir/TensorType.ts"
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
  run: (graph, { limits, count, arithmetic: asked = "f32" }) => {
    const schedules = new Map<Node, Schedule.Schedule>()
    const diagnostics: Array<Diagnostic> = []
    for (const node of graph.nodes) {
      if (node.op !== "fused") continue
      const refused = asked === "f16" ? notInHalf(node, limits) : undefined
      const inFloats = refused === undefined ? [] : [`products in f32: ${refused}`]
      if (limits.ownTiles === true) {
        diagnostics.push(...inFloats.map((text) => note(node, text)))
        continue
      }
      const schedule = forKernel(node, limits, refused === undefined ? asked : "f32")
      if (schedule === undefined) {
        diagnostics.push(noSchedule(node, limits))
        continue
      }
      schedules.set(node, schedule)
      count(schedule.kind)
      diagnostics.push(note(node, [describe(schedule), ...inFloats].join("; ")))
    }
    return { graph, diagnostics, schedules }
  }
}

const note = (node: NodeOf<"fused">, nearest: string): Diagnostic => ({
  pass: "choose-schedule",
  outcome: "note",
  ...about(anchorOf(node.attrs.body) ?? node),
  nearest
})

/** Why a kernel multiplies in float32 what was asked to be multiplied in f16; undefined where it need not, or multiplies nothing. */
const notInHalf = (node: NodeOf<"fused">, limits: Limits): string | undefined => {
  const anchor = anchorOf(node.attrs.body)
  if (anchor?.op !== "dot" && anchor?.op !== "flash_attention") return undefined
  if (limits.ownTiles === true) return "this backend has no arithmetic in f16"
  if (limits.kind === "cpu") return "a software device would convert every number"
  if (!limits.shaderF16) return "the device has no shader-f16"
  const anchors = node.attrs.body.nodes.filter((n) => n.op === "dot" || n.op === "flash_attention")
  const found = new Set(anchors.flatMap(wide).map((x) => TensorType.print(x.type)))
  return found.size === 0 ? undefined : `${[...found].join(", ")} is not stored as f16`
}

const noSchedule = (node: NodeOf<"fused">, limits: Limits): Diagnostic => ({
  pass: "choose-schedule",
  outcome: "refused",
  ...about(anchorOf(node.attrs.body) ?? node),
  failed: `no tiles of attention with these head sizes fit ${limits.maxComputeWorkgroupStorageSize} bytes of workgroup memory and ${limits.maxComputeInvocationsPerWorkgroup} threads`,
  suggestion: "use constant head sizes of at most 256, or run unfuse-attention"
})

/** A schedule for one kernel; undefined where a device with these limits has none. */
const forKernel = (
  node: NodeOf<"fused">,
  limits: Limits,
  arithmetic: Schedule.Arithmetic
): Schedule.Schedule | undefined => {
  const anchor = anchorOf(node.attrs.body)
  if (anchor === undefined) return { kind: "elementwise", threads: atMost(64, limits) }
  if (anchor.op === "flash_attention") return forAttention(anchor, node.operands.length, limits, arithmetic)
  if (anchor.op === "dot") {
    // Tiles of two products serve one as well.
    const [widest = [anchor]] = [...(productsOf(node.attrs.body) ?? [])].sort((a, b) => b.length - a.length)
    return forMatmul(widest[0] as NodeOf<"dot">, widest.length, limits, arithmetic)
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

const forMatmul = (
  dot: NodeOf<"dot">,
  products: number,
  limits: Limits,
  arithmetic: Schedule.Arithmetic
): Schedule.Matmul => {
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
  return matmulSchedule(limits, sizes, products, arithmetic)
}

/** The tiles of attention are worked out next to their budget; what no device can run gets none. */
const forAttention = (
  flash: NodeOf<"flash_attention">,
  buffers: number,
  limits: Limits,
  arithmetic: Schedule.Arithmetic
): Schedule.Flash | undefined => {
  const [q, k] = flash.operands as readonly [Node, Node]
  const { terms, v } = parts(flash.operands, flash.attrs)
  const size = (x: Node, axis: number): number | undefined => Dim.value(x.type.shape[axis] as Dim.Dim)
  const isHeadSize = (n: number | undefined): n is number => n !== undefined && n >= 1 && n <= 256
  const D = terms.map((term) => size(term.q, 3)).filter(isHeadSize)
  const [E, heads, keyHeads] = [size(v, 3), size(q, 1), size(k, 1)]
  if (D.length < terms.length || !isHeadSize(E) || q.type.dtype === "f64") return undefined
  const group = heads === undefined || keyHeads === undefined || keyHeads === 0 ? undefined : heads / keyHeads
  const schedule = withBuffers(choose(limits, D, E, group, arithmetic), buffers, limits)
  return legal(schedule, limits, D, E, q.type.dtype, group) ? schedule : undefined
}
