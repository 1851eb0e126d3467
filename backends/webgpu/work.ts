import * as Dim from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import { anchorOf, isUpdate } from "../../ir/KernelBody.ts"
import type { Node } from "../../ir/Node.ts"
import { parts } from "../../ir/ops/flashAttention.ts"
import * as Shape from "../../ir/Shape.ts"

/**
 * Multiply-adds of bodies that are computed together, as if every key were visible and every element took one: what a call is split by, so that
 * it need not be exact. Results and statistics of one attention come of one pass over its keys.
 */
export const workOf = (bodies: ReadonlyArray<Graph>): Dim.Dim => {
  const nodes = bodies.flatMap((body) => body.nodes.filter((n) => !isStore(body, n)))
  const passes = nodes.filter((n) => n.op === "flash_attention")
  const pass = passes.find((n) => n.attrs.output === "result") ?? passes[0]
  return nodes.reduce(
    (sum, node) => (node.op === "flash_attention" && node !== pass ? sum : Dim.add(sum, workOfNode(node))),
    Dim.zero
  )
}

/** What follows a contraction into a tensor writes no more than the contraction gives. */
const isStore = (body: Graph, node: Node): boolean => isUpdate(node) && anchorOf(body) !== undefined

const workOfNode = (node: Node): Dim.Dim => {
  const axis = (of: Node, n: number): Dim.Dim => of.type.shape[n] as Dim.Dim
  switch (node.op) {
    case "input":
    case "constant":
      return Dim.zero
    case "dot": {
      const [lhs] = node.operands as readonly [Node, Node]
      return Dim.product([...node.type.shape, ...node.attrs.lhsContract.map((n) => axis(lhs, n))])
    }
    case "flash_attention": {
      const { terms, v } = parts(node.operands, node.attrs)
      const [q, k] = node.operands as readonly [Node, Node]
      const values = node.attrs.output === "result" ? axis(v, 3) : Dim.zero
      const width = terms.reduce((sum, term) => Dim.add(sum, axis(term.k, 3)), values)
      return Dim.product([axis(q, 0), axis(q, 1), axis(q, 2), axis(k, 2), width])
    }
    default:
      // A reduction reads more than it writes.
      return Shape.size((node.op.startsWith("reduce") ? (node.operands[0] as Node) : node).type.shape)
  }
}
