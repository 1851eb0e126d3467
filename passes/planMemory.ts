import * as Dim from "../ir/Dim.ts"
import * as DType from "../ir/DType.ts"
import { dispatchGroups } from "../ir/dispatchGroups.ts"
import { flashPartners } from "../ir/flashPartners.ts"
import type { Graph } from "../ir/Graph.ts"
import type { Node } from "../ir/Node.ts"
import * as Shape from "../ir/Shape.ts"
import type { Diagnostic } from "./Diagnostic.ts"
import type { Pass } from "./Pass.ts"

/**
 * Intermediate values share one arena, whose size follows from their lives: what is alive at one step at most. Results are written straight
 * to the buffers of outputs, and an update of a donated input is written into that input's buffer.
 */
export const planMemory: Pass = {
  name: "plan-memory",
  summary: "liveness becomes one arena; donated inputs are updated in place",
  from: "kernels",
  to: "kernels",
  run: (graph, { donated, limits, count }) => {
    const inPlace = updatesInPlace(graph, donated)
    const outputs = new Set(graph.outputs.map((o) => o.node))
    const lives = livesOf(graph, limits.maxStorageBuffersPerShaderStage).filter(
      ({ node }) => !outputs.has(node) && !inPlace.has(node)
    )
    count("intermediate", lives.length)
    count("in-place", inPlace.size)
    return { graph, diagnostics: [describe(lives, inPlace.size)], memory: { inPlace } }
  }
}

/** When a value is alive: from the step that writes it to the last step that reads it, both included. */
export interface Life {
  readonly node: Node
  readonly from: number
  readonly to: number
}

/** Bytes of a value on a device. */
export const bytesOf = ({ type }: Node): Dim.Dim =>
  Dim.mul(Shape.size(type.shape), Dim.constant(DType.deviceBytes[type.dtype]))

/** The lives of what kernels compute, in the order of the graph; `buffers` is how many a kernel may bind. */
export const livesOf = (graph: Graph, buffers: number): ReadonlyArray<Life> => {
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
  return graph.nodes.flatMap((node) =>
    node.op === "fused" ? [{ node, from: from.get(node) as number, to: to.get(node) as number }] : []
  )
}

/** Bytes of what is alive together, but for sums that are never the largest: the arena takes the largest of these. */
const sumsOf = (lives: ReadonlyArray<Life>): ReadonlyArray<Dim.Dim> => {
  const change = new Map<number, Dim.Dim>()
  const add = (step: number, bytes: Dim.Dim): void => {
    change.set(step, Dim.add(change.get(step) ?? Dim.zero, bytes))
  }
  for (const { node, from, to } of lives) {
    add(from, bytesOf(node))
    add(to + 1, Dim.neg(bytesOf(node)))
  }
  let alive = Dim.zero
  const sums = [...change]
    .sort(([a], [b]) => a - b)
    .map(([, bytes]) => {
      alive = Dim.add(alive, bytes)
      return alive
    })
  const different = [...new Map(sums.map((sum) => [sum.key, sum])).values()]
  return different.filter((a) => !different.some((b) => b !== a && neverLess(b, a)))
}

/** Lengths are never negative. */
const neverLess = (a: Dim.Dim, b: Dim.Dim): boolean =>
  Dim.sub(a, b).terms.every(({ coefficient }) => coefficient >= 0)

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

const describe = (lives: ReadonlyArray<Life>, inPlace: number): Diagnostic => {
  const sums = sumsOf(lives).map(Dim.print)
  return {
    pass: "plan-memory",
    outcome: "note",
    subject: `${lives.length} intermediate values in one arena, ${inPlace} results in place`,
    ...(sums.length === 0 ? {} : { nearest: `bytes alive together: ${sums.join(", or ")}` })
  }
}
