import type { Node } from "./Node.ts"
import * as Shape from "./Shape.ts"

const equal = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i])

/**
 * Whether two contractions differ in the right operand's values only, as the gate and the other half of a gated layer: one kernel computes both
 * side by side and reads the left operand once.
 */
export const areTwins = (a: Node, b: Node): boolean => {
  if (a.op !== "dot" || b.op !== "dot" || a === b || a.operands[0] !== b.operands[0]) return false
  const [x, y] = [a.operands[1] as Node, b.operands[1] as Node]
  return (
    x.type.dtype === y.type.dtype &&
    Shape.equals(x.type.shape, y.type.shape) &&
    equal(a.attrs.lhsBatch, b.attrs.lhsBatch) &&
    equal(a.attrs.rhsBatch, b.attrs.rhsBatch) &&
    equal(a.attrs.lhsContract, b.attrs.lhsContract) &&
    equal(a.attrs.rhsContract, b.attrs.rhsContract)
  )
}
