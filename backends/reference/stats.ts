import type * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type { Graph } from "../../ir/Graph.ts"
import type * as Node from "../../ir/Node.ts"
import { specOf } from "../../ir/Node.ts"
import { parts } from "../../ir/ops/flashAttention.ts"
import * as Shape from "../../ir/Shape.ts"
import type { Stats } from "../Backend.ts"

const sizeOf = (node: Node.Node, sizes: Dim.Bindings): number =>
  Shape.evaluate(node.type.shape, sizes).reduce((a, b) => a * b, 1)

const bytesOf = (node: Node.Node, sizes: Dim.Bindings): number =>
  sizeOf(node, sizes) * DType.bytes[node.type.dtype]

/** Bytes of the keys and values that a node reads: see `of`. */
const keyValueBytes = (node: Node.Node, sizes: Dim.Bindings): number => {
  switch (node.op) {
    case "flash_attention": {
      const [q, k, v] = node.operands as [Node.Node, Node.Node, Node.Node]
      const [, heads, queries] = Shape.evaluate(q.type.shape, sizes) as [number, number, number]
      const own = Shape.evaluate(k.type.shape, sizes)[1] as number
      const { terms } = parts(node.operands, node.attrs)
      const keys = terms.slice(1).reduce((sum, term) => {
        const shared = Shape.evaluate(term.k.type.shape, sizes)[1] as number
        return sum + (shared === 0 ? 0 : heads / shared) * queries * bytesOf(term.k, sizes)
      }, 0)
      const read = bytesOf(k, sizes) + (node.attrs.output === "result" ? bytesOf(v, sizes) : 0)
      return own === 0 ? 0 : (heads / own) * queries * read + keys
    }
    case "dot": {
      const [lhs, rhs] = node.operands as [Node.Node, Node.Node]
      const shared = [...node.attrs.lhsBatch, ...node.attrs.lhsContract]
      const rows = Shape.evaluate(lhs.type.shape, sizes).reduce(
        (n, size, a) => (shared.includes(a) ? n : n * size),
        1
      )
      return rows * bytesOf(rhs, sizes) + copies(rhs, sizes)
    }
    case "fused":
      return keyValueBytesRead(node.attrs.body, sizes)
    default:
      return 0
  }
}

/** Bytes read by the copies (repeated heads, transposes) on the way to an operand. */
const copies = (operand: Node.Node, sizes: Dim.Bindings): number => {
  let bytes = 0
  for (let node = operand; specOf(node.op).family === "movement"; ) {
    const from = node.operands[0] as Node.Node
    if (node.op !== "reshape") bytes += bytesOf(from, sizes)
    node = from
  }
  return bytes
}

const keyValueBytesRead = (graph: Graph, sizes: Dim.Bindings): number =>
  graph.nodes.reduce((sum, node) => sum + keyValueBytes(node, sizes), 0)

/**
 * What one evaluation costs. A dispatch is a node that computes: sources and views are none. Scratch is every result that is
 * neither a source nor an output; a reshape shares its operand's memory. Of keys and values a row of attention reads all,
 * and so do the contractions in its place: the right operand once for each row of the left, and the copies that made it.
 */
export const of = (graph: Graph, sizes: Dim.Bindings): Stats => {
  const outputs = new Set(graph.outputs.map((o) => o.node))
  const results = graph.nodes.filter((node) => specOf(node.op).family !== "source")
  const stored = results.filter((node) => !outputs.has(node) && node.op !== "reshape")
  return {
    dispatches: results.filter((node) => specOf(node.op).family !== "movement").length,
    scratchBytes: stored.reduce((sum, node) => sum + bytesOf(node, sizes), 0),
    keyValueBytesRead: keyValueBytesRead(graph, sizes),
    pipelines: 0
  }
}
