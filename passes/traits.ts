import { anchors } from "../ir/anchors.ts"
import * as Dim from "../ir/Dim.ts"
import type { Graph } from "../ir/Graph.ts"
import { type Node, specOf } from "../ir/Node.ts"
import type { OpName } from "../ir/ops.ts"
import * as Shape from "../ir/Shape.ts"

/** What fusion asks about nodes: what moves, what costs nothing to compute twice, what lines up with what. */

export const isAnchor = (node: Node): boolean => anchors.has(node.op)

const views: ReadonlySet<OpName> = new Set(["reshape", "transpose", "broadcast", "slice"])

/** One operand element for each result element, found by arithmetic on its position: folds into addressing. */
export const isView = (node: Node): boolean => views.has(node.op)

/** The value that views are views of. */
export const behindViews = (node: Node): Node => {
  let base = node
  while (isView(base)) base = base.operands[0] as Node
  return base
}

export const isElementwise = (node: Node): boolean => {
  const { family } = specOf(node.op)
  return family === "elementwise" || family === "compare"
}

const cheapOps: ReadonlySet<OpName> = new Set([
  ...(["neg", "abs", "sign", "floor", "ceil", "round", "not", "add", "sub", "mul", "min", "max"] as const),
  ...(["and", "or", "xor", "cast", "eq", "ne", "lt", "le", "gt", "ge", "is_nan", "is_inf", "select"] as const)
])

/** Takes about one instruction for an element: less than writing the element and reading it back. */
export const isCheap = (node: Node): boolean => cheapOps.has(node.op)

/** A single element, whatever the lengths. */
export const isSingle = (node: Node): boolean => node.type.shape.every(Dim.isOne)

/** A constant that is data: it stays in the graph and reaches kernels as a buffer. One value repeated is code. */
export const isDataConstant = (node: Node): boolean =>
  node.op === "constant" && node.attrs.values.length !== 1

/** What no kernel computes. */
export const isGiven = (node: Node): boolean => node.op === "input" || isDataConstant(node)

/** A value without operands that is written out where it is used: a repeated constant, an index, a length. */
export const isSource = (node: Node): boolean =>
  (node.op === "constant" && !isDataConstant(node)) || node.op === "iota" || node.op === "dim"

/** Expressions of more nodes than this are computed once, whatever they are made of. */
const mostFree = 16

/**
 * Values made of sources alone by cheap steps, such as `i >= j` of two indices. They are written out wherever they are used:
 * computing them again costs less than reading them.
 */
export const freeValues = (graph: Graph): ReadonlySet<Node> => {
  const weights = new Map<Node, number>()
  for (const node of graph.nodes) {
    if (isSource(node)) weights.set(node, 1)
    else if (node.operands.length > 0 && (isView(node) || (isElementwise(node) && isCheap(node)))) {
      // Shared operands count once for each use: an upper bound, which is all that is needed.
      const weight = node.operands.reduce((sum, o) => sum + (weights.get(o) ?? Infinity), 1)
      if (weight <= mostFree) weights.set(node, weight)
    }
  }
  return new Set(weights.keys())
}

/** Broadcast to the other along some axis, which makes several elements of one. */
export const isSmaller = (a: Node, b: Node): boolean => {
  const [own, other] = [a.type.shape, b.type.shape]
  const added = other.length - own.length
  return other.some((d, axis) => !Dim.isOne(d) && Dim.isOne(own[axis - added] ?? Dim.one))
}

/** Same number of elements in the same row-major order, whatever the lengths. */
export const sameSize = (a: Node, b: Node): boolean =>
  Dim.equals(Shape.size(a.type.shape), Shape.size(b.type.shape))
