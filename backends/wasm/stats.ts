import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { Node, NodeOf } from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import type { Plan, Stats } from "../Backend.ts"
import * as Program from "./Program.ts"
import { intermediates } from "./runtime/layout.ts"

/** What one call costs, counted from the steps that its lengths select. */
export const statsOf = (plan: Plan, program: Program.Program, sizes: Dim.Bindings): Stats => {
  const steps = Program.steps(program, sizes)
  return {
    dispatches: steps.length,
    scratchBytes: intermediates(program, steps, sizes).bytes,
    keyValueBytesRead: keyValueBytes(plan.graph, sizes),
    pipelines: program.kernels.length
  }
}

/**
 * Keys and values, and right operands of contractions, as memory gives them: once. That blocks of rows meet them again in the caches, and
 * that a decode leaves out what a range hides, is not counted.
 */
const keyValueBytes = (graph: Graph, sizes: Dim.Bindings): number =>
  graph.nodes.reduce((sum, node) => {
    switch (node.op) {
      case "fused":
        return sum + keyValueBytes(node.attrs.body, sizes)
      case "flash_attention":
        return sum + node.operands.slice(1, 3).reduce((n, x) => n + bytesOf(x, sizes), 0)
      case "dot":
        return sum + bytesOf((node as NodeOf<"dot">).operands[1] as Node, sizes)
      default:
        return sum
    }
  }, 0)

const bytesOf = ({ type }: Node, sizes: Dim.Bindings): number =>
  Dim.evaluate(Shape.size(type.shape), sizes) * DType.deviceBytes[type.dtype]
