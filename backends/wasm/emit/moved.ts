import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import { i32 } from "../assembler/Instruction.ts"
import type { Emitter } from "./Emitter.ts"
import * as Value from "./Value.ts"

type Indices = ReadonlyArray<Value.Value>

/** Where the elements of a view lie in its operand; undefined for a node that is no view. */
export const moved = (e: Emitter, node: Node, indices: Indices): Indices | undefined => {
  switch (node.op) {
    case "reshape":
      return Value.reshape(e, indices, node.type.shape, (node.operands[0] as Node).type.shape)
    case "transpose": {
      const from = indices.map(() => Value.integer(0) as Value.Value)
      node.attrs.perm.forEach((axis, i) => {
        from[axis] = indices[i] as Value.Value
      })
      return from
    }
    case "broadcast":
      return broadcastFrom(node.operands[0] as Node, indices)
    case "slice": {
      const { starts, steps } = node.attrs
      return indices.map((i, axis) =>
        Value.add(
          e,
          Value.uniform(e.dim(starts[axis] as Dim.Dim)),
          Value.scale(e, i, i32(steps[axis] as number))
        )
      )
    }
    default:
      return undefined
  }
}

/** Where an operand that is broadcast, NumPy style, has the elements of the result at an index tuple. */
export const broadcastFrom = ({ type: { shape } }: Node, indices: Indices): Indices => {
  const skipped = indices.length - shape.length
  return shape.map((d, axis) => (Dim.isOne(d) ? Value.integer(0) : (indices[axis + skipped] as Value.Value)))
}
