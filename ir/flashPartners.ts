import * as Graph from "./Graph.ts"
import type { Node } from "./Node.ts"

/**
 * Kernels of one attention that differ in their output only (result, log-sum-exp, maximum): each but the first, with the first. A
 * backend may compute them together in place of the first: what they read is there by then.
 */
export const flashPartners = (graph: Graph.Graph): ReadonlyMap<Node, Node> => {
  const firsts = new Map<string, Node>()
  const partners = new Map<Node, Node>()
  const numbers = new Map(graph.nodes.map((n, i) => [n, i] as const))
  for (const node of graph.nodes) {
    if (node.op !== "fused") continue
    const flash = node.attrs.body.nodes.find((n) => n.op === "flash_attention")
    if (flash?.op !== "flash_attention") continue
    const key = attentionKey(node.operands, node.attrs.body.inputs, flash, numbers)
    const first = firsts.get(key)
    if (first === undefined) firsts.set(key, node)
    else if (node.operands.every((o) => (numbers.get(o) as number) < (numbers.get(first) as number)))
      partners.set(node, first)
  }
  return partners
}

/** A text that is equal for equal attention over equal operands, whatever of it is asked for and whatever follows it. */
const attentionKey = (
  operands: ReadonlyArray<Node>,
  inputs: ReadonlyArray<Node>,
  flash: Extract<Node, { op: "flash_attention" }>,
  numbers: ReadonlyMap<Node, number>
): string => {
  const read = flash.operands.map((o, i) => ({ name: `${i}`, node: o }))
  const views = Graph.make(read)
  const values = views.inputs.map((i) => numbers.get(operands[inputs.indexOf(i)] as Node))
  const { score, mask, sink, probability, range, rowRange, fill, terms, normaliser } = flash.attrs
  const regions = [score, mask, sink, probability, range, rowRange].map((r) =>
    r === undefined ? "-" : Graph.key(r)
  )
  return [Graph.key(views), values.join(","), ...regions, fill, terms ?? 1, normaliser ?? "softmax"].join("|")
}
