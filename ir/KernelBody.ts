import { anchors } from "./anchors.ts"
import * as Graph from "./Graph.ts"
import * as Node from "./Node.ts"

/** What backends ask about the body of a kernel. */

/** The node that a kernel has a loop of its own for, if there is one. */
export const anchorOf = (body: Graph.Graph): Node.Node | undefined =>
  body.nodes.find((n) => anchors.has(n.op))

/** The body of a fused node, of any other a body of that op over inputs of its operands' types: one that occurs twice is two inputs. */
export const of = (node: Node.Node): Graph.Graph => {
  if (node.op === "fused") return node.attrs.body
  const inputs = node.operands.map((o, i) => Node.make("input", [], { name: `x${i}`, type: o.type }))
  const copy = Node.make(node.op, inputs as ReadonlyArray<Node.Node>, node.attrs as never)
  return Graph.make([{ name: "out", node: copy as Node.Node }], inputs as ReadonlyArray<Node.Node>)
}

/** A body that gives its one input, of the node's type. */
export const copyOf = (node: Node.Node): Graph.Graph => {
  const input = Node.make("input", [], { name: "x0", type: node.type }) as Node.Node
  return Graph.make([{ name: "out", node: input }], [input])
}

/** Writes entries into a tensor. */
export type Update = Node.NodeOf<"update_slice"> | Node.NodeOf<"scatter">

export const isUpdate = (node: Node.Node | undefined): node is Extract<Node.Node, Update> =>
  node?.op === "update_slice" || node?.op === "scatter"

/** The root of a body that is an update. */
export const updateOf = (body: Graph.Graph): Update | undefined => {
  const root = body.outputs[0]?.node
  return isUpdate(root) ? root : undefined
}

/** The body up to its anchor, and the rest as a body with one more input, for results that do not follow the anchor element by element. */
export const splitAt = (
  body: Graph.Graph,
  anchor: Node.Node
): { readonly anchor: Graph.Graph; readonly rest: Graph.Graph } => {
  const taken = new Set(body.inputs.map((i) => i.attrs.name))
  let name = "anchor"
  while (taken.has(name)) name += "_"
  const input = Node.make("input", [], { name, type: anchor.type }) as Node.Node
  const rest = Graph.transform(
    { inputs: [...body.inputs, input], outputs: body.outputs },
    (node, _, original) => (original === anchor ? input : node)
  )
  return { anchor: Graph.make([{ name: "out", node: anchor }], body.inputs), rest }
}
