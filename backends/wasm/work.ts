import * as Dim from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { Node, NodeOf } from "../../ir/Node.ts"

/**
 * How much there is to compute, roughly, in multiply-adds of one lane, of which a core does some 20 in a nanosecond. A sum of products: their
 * factors stay apart, for a product may be past what a `Dim` holds exactly.
 */
export type Work = ReadonlyArray<ReadonlyArray<Dim.Dim>>

/** Multiply-adds that take as long as an element of an op that is no contraction. */
const element = 8

/** Multiply-adds that take as long as reading an element from memory: what few rows do with it is less than that. */
const read = 4

/** Arithmetic of floats that takes as long as that of a double, of which a register holds half as many, and which no kernel packs. */
const double = 3

const slow: ReadonlySet<string> = new Set([
  "exp",
  "exp2",
  "log",
  "sin",
  "cos",
  "tanh",
  "erf",
  "sigmoid",
  "pow",
  "softmax",
  "logsumexp",
  "gather",
  "load",
  "random_bits"
])

const reductions: ReadonlySet<string> = new Set([
  "reduce_sum",
  "reduce_prod",
  "reduce_max",
  "reduce_min",
  "argmax",
  "logsumexp"
])

export const of = (body: Graph): Work =>
  body.nodes.flatMap((node) =>
    isDouble(node) ? ofNode(node).map((factors) => [...factors, Dim.constant(double)]) : ofNode(node)
  )

const isDouble = ({ type, operands }: Node): boolean =>
  type.dtype === "f64" || operands.some((o) => o.type.dtype === "f64")

const ofNode = (node: Node): Work => {
  switch (node.op) {
    case "input":
    case "constant":
      return []
    case "dot": {
      const { operands, attrs } = node as NodeOf<"dot">
      return [
        [...node.type.shape, ...attrs.lhsContract.map((axis) => operands[0]?.type.shape[axis] as Dim.Dim)],
        ...operands.map(({ type }) => [...type.shape, Dim.constant(read)])
      ]
    }
    case "flash_attention": {
      const [q, k, v] = node.operands as ReadonlyArray<Node> as readonly [Node, Node, Node]
      const [keys, width] = [k.type.shape[2], v.type.shape[3]] as [Dim.Dim, Dim.Dim]
      const pairs = [...q.type.shape.slice(0, 3), keys]
      return [
        [...q.type.shape, keys],
        [...pairs, Dim.add(width, Dim.constant(4 * element))],
        ...[k, v].map(({ type }) => [...type.shape, Dim.constant(read)])
      ]
    }
    default: {
      // A reduction visits what it reduces, anything else what it makes.
      const [first] = node.operands
      const visited = first !== undefined && reductions.has(node.op) ? first : node
      return [[...visited.type.shape, Dim.constant(slow.has(node.op) ? 8 * element : element)]]
    }
  }
}

export const evaluate = (work: Work, sizes: Dim.Bindings): number =>
  work.reduce((sum, factors) => sum + factors.reduce((a, d) => a * Dim.evaluate(d, sizes), 1), 0)
