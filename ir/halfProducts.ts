import type { Node, NodeOf } from "./Node.ts"
import { parts } from "./ops/flashAttention.ts"

const passedOn: ReadonlySet<string> = new Set([
  "cast",
  "reshape",
  "transpose",
  "broadcast",
  "slice",
  "gather"
])

/** Whether f16 holds every element: they are stored so, whatever they are widened to and wherever they are read from. */
export const isHalf = (x: Node): boolean => {
  if (x.type.dtype === "f16") return true
  const [from] = x.operands
  return x.type.dtype === "f32" && from !== undefined && passedOn.has(x.op) && isHalf(from)
}

/** What a contraction or attention multiplies that f16 does not hold: where there is none, products may be in f16. */
export const wide = (anchor: NodeOf<"dot"> | NodeOf<"flash_attention">): ReadonlyArray<Node> => {
  if (anchor.op === "dot") return anchor.operands.filter((x) => !isHalf(x))
  const { terms, v } = parts(anchor.operands, anchor.attrs)
  return [...terms.flatMap(({ q, k }) => [q, k]), v].filter((x) => !isHalf(x))
}
