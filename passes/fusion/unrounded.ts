import * as DType from "../../ir/DType.ts"
import * as Node from "../../ir/Node.ts"
import * as rearrange from "./rearrange.ts"

const isNarrow = (dtype: DType.DType): boolean => dtype === "f16" || dtype === "bf16"

/** Whether a float is made from operands without a sum: rounding it is no part of what it is. */
const isPassed = ({ op, type }: Node.Node): boolean => {
  const { family, facts } = Node.specOf(op)
  return (
    DType.isFloat(type.dtype) && (op === "constant" || family === "elementwise" || facts.movement === true)
  )
}

/**
 * A value without the roundings to half precision on the way, as the score region of attention computes it. Of a fill such as the least
 * number, a rounding is larger than all scores: what is compared with a maximum has to be computed like it.
 */
export const unrounded = (root: Node.Node): Node.Node => {
  const leaves = new Set<Node.Node>()
  const inside = new Set(isPassed(root) ? [root] : [])
  for (const node of inside) for (const x of node.operands) (isPassed(x) ? inside : leaves).add(x)
  if (![...inside].some((n) => isNarrow(n.type.dtype))) return root
  const widened = (x: Node.Node): Node.Node => (isNarrow(x.type.dtype) ? rearrange.cast(x, "f32") : x)
  const made = new Map<Node.Node, Node.Node>([...leaves].map((x) => [x, widened(x)]))
  for (const node of Node.postOrder([root], leaves)) {
    const operands = node.operands.map((x) => made.get(x) as Node.Node)
    const [x] = operands
    if (node.op === "cast" && x !== undefined) {
      const { dtype } = node.type
      made.set(node, rearrange.cast(x, isNarrow(dtype) ? "f32" : dtype))
    } else made.set(node, x === undefined ? widened(node) : Node.withOperands(node, operands))
  }
  return made.get(root) as Node.Node
}
