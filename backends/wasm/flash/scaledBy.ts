import type { Graph } from "../../../ir/Graph.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"

/** A sum of logits, each times a number. */
type Factors = ReadonlyArray<number>

/**
 * What a score multiplies each logit with, in powers of 2, where it is nothing but their weighted sum. Factors past 1 could make queries infinite: then
 * a score is computed as it is written.
 */
export const scaledBy = (score: Graph, logits: number): Factors | undefined => {
  const result = score.outputs[0]?.node
  const factors = result && linear(score, logits, result)?.map((x) => x * Math.LOG2E)
  return factors?.every((x) => x > 0 && x <= 1) ? factors : undefined
}

const linear = (score: Graph, logits: number, node: Node): Factors | undefined => {
  const of = (operand: Node | undefined): Factors | undefined => operand && linear(score, logits, operand)
  const [x, y] = node.operands
  switch (node.op) {
    case "input": {
      const own = (score.inputs as ReadonlyArray<Node>).indexOf(node)
      return own < logits ? Array.from({ length: logits }, (_, n) => (n === own ? 1 : 0)) : undefined
    }
    case "add": {
      const [a, b] = [of(x), of(y)]
      return a && b && a.map((factor, n) => factor + (b[n] as number))
    }
    case "mul": {
      const [a, by] = x?.op === "constant" ? [of(y), constantOf(x)] : [of(x), y && constantOf(y)]
      return by === undefined ? undefined : a?.map((factor) => factor * by)
    }
    default:
      return undefined
  }
}

const constantOf = (node: Node): number | undefined =>
  node.op === "constant" && node.type.dtype === "f32" && node.type.shape.length === 0
    ? Math.fround((node as NodeOf<"constant">).attrs.values[0] as number)
    : undefined
