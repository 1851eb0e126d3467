import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import type * as Shape from "../../../ir/Shape.ts"
import type { Emitter } from "./Emitter.ts"

const ownShape = (node: Node): Shape.Shape => node.type.shape

/**
 * Where the element of a view lies in its operand; undefined for a node that is no view. `shapeOf` counts the elements of axes, for those
 * who count otherwise.
 */
export const moved = (
  e: Emitter,
  node: Node,
  indices: ReadonlyArray<string>,
  shapeOf: (node: Node) => Shape.Shape = ownShape
): ReadonlyArray<string> | undefined => {
  switch (node.op) {
    case "reshape":
      return e.reshape(indices, shapeOf(node), shapeOf(node.operands[0] as Node))
    case "transpose": {
      const from = indices.map(() => "0")
      node.attrs.perm.forEach((axis, i) => {
        from[axis] = indices[i] as string
      })
      return from
    }
    case "broadcast":
      return broadcastFrom(node.operands[0] as Node, indices)
    case "slice": {
      const { starts, steps } = node.attrs
      return indices.map((i, axis) => e.add(e.dim(starts[axis] as Dim.Dim), e.mul(i, String(steps[axis]))))
    }
    default:
      return undefined
  }
}

/** Where an operand that is broadcast, NumPy style, has the element of the result at an index tuple. */
export const broadcastFrom = (operand: Node, indices: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { shape } = operand.type
  const skipped = indices.length - shape.length
  return shape.map((d, axis) => (Dim.isOne(d) ? "0" : (indices[axis + skipped] as string)))
}
