import * as Dim from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import { type Node, postOrder } from "../../ir/Node.ts"
import * as Linear from "./Linear.ts"

/** A mask region read as arithmetic: which nodes depend on the query i or the key j, and its integers as sums. */
export interface Region {
  readonly graph: Graph
  /** Whether a node depends on neither i nor j; for one row, whether it does not depend on j. */
  readonly isUnit: (node: Node) => boolean
  /** Which of i and j a node depends on. */
  readonly dependence: (node: Node) => Linear.Dependence
  /** An i32 node of the region as a sum. */
  readonly linear: (node: Node) => Linear.Linear
}

export const read = (graph: Graph, rows: "block" | "one" = "block"): Region => {
  const [, , i, j] = graph.inputs as ReadonlyArray<Node>
  const varying = new Set<Node>(rows === "block" ? [i as Node, j as Node] : [j as Node])
  const sums = new Map<Node, Linear.Linear>()
  for (const node of graph.nodes) {
    if (node.operands.some((o) => varying.has(o))) varying.add(node)
    if (node.type.dtype !== "i32" || node.type.shape.length > 0) continue
    const sum = node === i ? Linear.i : node === j ? Linear.j : sumOf(node, varying.has(node), sums)
    sums.set(node, sum)
  }
  return {
    graph,
    isUnit: (node) => !varying.has(node),
    dependence: (node) => {
      const within = new Set(postOrder([node]))
      return { i: within.has(i as Node), j: within.has(j as Node) }
    },
    linear: (node) => sums.get(node) ?? Linear.one({ tag: "unknown", node })
  }
}

const sumOf = (node: Node, varies: boolean, sums: ReadonlyMap<Node, Linear.Linear>): Linear.Linear => {
  const known = node.operands.map((o) => sums.get(o))
  const built = combine(node, known)
  if (built !== undefined && Linear.value(built) !== undefined) return built
  // What i and j leave alone is computed as it is written: i32 arithmetic on data may wrap.
  if (!varies) return Linear.one({ tag: "unit", node })
  return built !== undefined && Linear.isTame(built) ? built : Linear.one({ tag: "unknown", node })
}

/** The sum an op makes of its operands' sums; undefined where it makes none. */
const combine = (
  node: Node,
  [x, y, z]: ReadonlyArray<Linear.Linear | undefined>
): Linear.Linear | undefined => {
  switch (node.op) {
    case "constant":
      return Linear.constant(node.attrs.values[0] as number)
    case "dim": {
      const size = Dim.value(node.attrs.value)
      return size === undefined ? undefined : Linear.constant(size)
    }
    case "add":
      return x && y && Linear.plus(x, y)
    case "sub":
      return x && y && Linear.minus(x, y)
    case "neg":
      return x && Linear.scale(x, -1)
    case "mul": {
      if (x === undefined || y === undefined) return undefined
      const [a, b] = [Linear.value(x), Linear.value(y)]
      return a !== undefined ? Linear.scale(y, a) : b !== undefined ? Linear.scale(x, b) : undefined
    }
    case "floor_div":
    case "mod": {
      const size = node.operands[1] as Node
      if (x !== undefined && isSize(size)) return Linear.one({ tag: "wrapped", op: node.op, of: x, by: size })
      const by = y && Linear.value(y)
      if (x === undefined || by === undefined || by < 1 || by > 2 ** 20) return undefined
      return node.op === "mod" ? Linear.remainder(x, by) : Linear.quotient(x, by)
    }
    case "max":
      return x && y && Linear.max(x, y)
    case "min":
      return x && y && Linear.min(x, y)
    case "abs":
      return x && Linear.max(x, Linear.scale(x, -1))
    case "select":
      return y && z && choice(node.operands[0] as Node, y, z)
    case "cast": {
      const from = node.operands[0] as Node
      return from.type.dtype === "bool" ? choice(from, Linear.constant(1), Linear.constant(0)) : undefined
    }
    default:
      return undefined
  }
}

const choice = (condition: Node, then: Linear.Linear, otherwise: Linear.Linear): Linear.Linear =>
  Linear.value(Linear.minus(then, otherwise)) === 0
    ? then
    : Linear.one({ tag: "choice", condition, then, otherwise })

/** A length that is never negative: a sum of products of lengths. */
const isSize = (node: Node): boolean =>
  node.op === "dim" &&
  !Dim.isConstant(node.attrs.value) &&
  node.attrs.value.terms.every((t) => t.coefficient > 0)
