import * as Graph from "./Graph.ts"
import * as Node from "./Node.ts"

/**
 * Kernels of one attention that differ in their output only (result, log-sum-exp, maximum): each but the first, with the first. A
 * backend may compute them together in place of the first: what they read is there by then.
 */
export const flashPartners = (graph: Graph.Graph): ReadonlyMap<Node.Node, Node.Node> => {
  const firsts = new Map<string, Node.Node>()
  const partners = new Map<Node.Node, Node.Node>()
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
  operands: ReadonlyArray<Node.Node>,
  inputs: ReadonlyArray<Node.Node>,
  flash: Node.NodeOf<"flash_attention">,
  numbers: ReadonlyMap<Node.Node, number>
): string => {
  const read = flash.operands.map((o, i) => ({ name: `${i}`, node: o }))
  const views = Graph.make(read)
  const values = views.inputs.map((i) => numbers.get(operands[inputs.indexOf(i)] as Node.Node))
  const { score, mask, sink, probability, range, rowRange, fill, terms, normaliser } = flash.attrs
  const regions = [score, mask, sink, probability, range, rowRange].map((r) =>
    r === undefined ? "-" : Graph.key(r)
  )
  return [Graph.key(views), values.join(","), ...regions, fill, terms ?? 1, normaliser ?? "softmax"].join("|")
}

/** The bodies of several kernels over one list of operands. */
export const overOneList = (
  group: ReadonlyArray<Node.Node>
): { readonly operands: ReadonlyArray<Node.Node>; readonly bodies: ReadonlyArray<Graph.Graph> } => {
  const operands = [...new Set(group.flatMap((n) => n.operands))]
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
