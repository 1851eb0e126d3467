import * as Dim from "../ir/Dim.ts"
import * as DType from "../ir/DType.ts"
import { dispatchGroups } from "../ir/dispatchGroups.ts"
import { flashPartners } from "../ir/flashPartners.ts"
import type { Graph } from "../ir/Graph.ts"
import type { MemoryPlan } from "../ir/MemoryPlan.ts"
import type { Node } from "../ir/Node.ts"
import * as Shape from "../ir/Shape.ts"
import type { Diagnostic } from "./Diagnostic.ts"
import type { Pass } from "./Pass.ts"

/**
 * Liveness becomes slots: intermediate values whose lives do not meet share memory. Results are written straight to the buffers
 * of outputs, and an update of a donated input is written into that input's buffer.
 */
export const planMemory: Pass = {
  name: "plan-memory",
  summary: "liveness becomes one arena; donated inputs are updated in place",
  from: "kernels",
  to: "kernels",
  run: (graph, { donated, limits, count }) => {
    const memory = plan(graph, donated, limits.maxStorageBuffersPerShaderStage)
    count("slot", memory.slots.length)
    count("in-place", memory.inPlace.size)
    return { graph, diagnostics: [describe(memory)], memory }
  }
}

/** When a value is alive: from the step that writes it to the last step that reads it, both included. */
interface Life {
  readonly node: Node
  readonly from: number
  readonly to: number
  readonly bytes: Dim.Dim
  /** Bytes if every length were `guess`: what slots are matched by. */
  readonly estimate: number
}

/** Lengths are unknown when memory is planned; large values are matched first as if all lengths were this. */
const guess = 1024

const plan = (graph: Graph, donated: ReadonlySet<string>, buffers: number): MemoryPlan => {
  const inPlace = updatesInPlace(graph, donated)
  const outputs = new Set(graph.outputs.map((o) => o.node))
  const lives = livesOf(graph, buffers).filter(({ node }) => !outputs.has(node) && !inPlace.has(node))
  const slots: Array<Slot> = []
  const slotOf = new Map<Node, number>()
  // Large values choose first: what comes later is no larger than the slot it finds.
  for (const life of [...lives].sort((a, b) => b.estimate - a.estimate || a.from - b.from)) {
    const free = slots.flatMap((slot, index) => (isFree(slot, life) ? [index] : []))
    const same = free.find((index) => slots[index]?.bytes.has(life.bytes.key))
    const index = same ?? free[0] ?? slots.length
    const slot = slots[index] ?? { lives: [], bytes: new Map() }
    slots[index] = slot
    slot.lives.splice(placeOf(slot, life), 0, life)
    slot.bytes.set(life.bytes.key, life.bytes)
    slotOf.set(life.node, index)
  }
  return { slots: slots.map(({ bytes }) => ({ bytes: [...bytes.values()] })), slotOf, inPlace }
}

/** Values that take turns in one buffer. */
interface Slot {
  /** One after the other; none meets another. */
  readonly lives: Array<Life>
  /** Sizes by their keys. */
  readonly bytes: Map<string, Dim.Dim>
}

/** Where a life stands among those of a slot, by when they begin. */
const placeOf = ({ lives }: Slot, { from }: Life): number => {
  let [low, high] = [0, lives.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((lives[middle] as Life).from < from) low = middle + 1
    else high = middle
  }
  return low
}

/** Lives of a slot are in order, so only neighbours can meet. */
const isFree = (slot: Slot, life: Life): boolean => {
  const at = placeOf(slot, life)
  const [before, after] = [slot.lives[at - 1], slot.lives[at]]
  return (before === undefined || before.to < life.from) && (after === undefined || life.to < after.from)
}

/** Bytes of a value on a device. */
export const bytesOf = ({ type }: Node): Dim.Dim =>
  Dim.mul(Shape.size(type.shape), Dim.constant(DType.deviceBytes[type.dtype]))

/** The lives of what kernels compute, in the order of the graph. */
const livesOf = (graph: Graph, buffers: number): ReadonlyArray<Life> => {
  const step = new Map(graph.nodes.map((n, i) => [n, i] as const))
  const from = new Map(step)
  const to = new Map(step)
  for (const node of graph.nodes) {
    for (const operand of node.operands)
      to.set(operand, Math.max(to.get(operand) ?? 0, step.get(node) as number))
  }
  // Results of one attention, and kernels of one dispatch, may be computed together, at the step of the first.
  for (const [node, first] of flashPartners(graph)) from.set(node, step.get(first) as number)
  for (const [node, first] of dispatchGroups(graph, buffers)) from.set(node, step.get(first) as number)
  return graph.nodes.flatMap((node) => {
    if (node.op !== "fused") return []
    const bytes = bytesOf(node)
    const all = Object.fromEntries(Dim.symbols(bytes).map((s) => [s, guess]))
    const estimate = Dim.evaluate(bytes, all)
    return [{ node, from: from.get(node) as number, to: to.get(node) as number, bytes, estimate }]
  })
}

/**
 * Results that only update a donated input whose old content nothing reads afterwards: node → index of the input. Each is an
 * output of the graph, since what overwrites an argument is given back to the caller.
 */
const updatesInPlace = (graph: Graph, donated: ReadonlySet<string>): ReadonlyMap<Node, number> => {
  const result = new Map<Node, number>()
  const outputs = new Set(graph.outputs.map((o) => o.node))
  const lastRead = new Map<Node, Node>()
  for (const node of graph.nodes) for (const operand of node.operands) lastRead.set(operand, node)
  for (const node of outputs) {
    const x = updatedOperand(node)
    if (x?.op !== "input" || !donated.has(x.attrs.name)) continue
    if (!outputs.has(x) && lastRead.get(x) === node) result.set(node, graph.inputs.indexOf(x))
  }
  return result
}

/** What a kernel updates, where its body is an `update_slice` or a `scatter` of a whole operand that it reads for nothing else. */
const updatedOperand = (node: Node): Node | undefined => {
  if (node.op !== "fused") return undefined
  const { body } = node.attrs
  const update = body.outputs[0]?.node
  const x = update?.op === "update_slice" || update?.op === "scatter" ? update.operands[0] : undefined
  if (x?.op !== "input") return undefined
  const reads = body.nodes.flatMap((n) => n.operands).filter((o) => o === x)
  return reads.length === 1 ? node.operands[body.inputs.indexOf(x)] : undefined
}

const describe = (memory: MemoryPlan): Diagnostic => {
  const sizes = memory.slots.map((s) => s.bytes.map(Dim.print).join(" or "))
  return {
    pass: "plan-memory",
    outcome: "note",
    subject: `${memory.slotOf.size} intermediate values in ${memory.slots.length} buffers, ${memory.inPlace.size} results in place`,
    ...(sizes.length === 0 ? {} : { nearest: `bytes: ${sizes.join("; ")}` })
  }
}
