import type { Bindings } from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { Limits } from "../../ir/Limits.ts"
import type { Node, NodeOf } from "../../ir/Node.ts"
import type { Schedule } from "../../ir/Schedule.ts"
import * as Shape from "../../ir/Shape.ts"
import type { Plan, Stats } from "../Backend.ts"
import { keyValueBytesRead } from "./flash/keyValueBytes.ts"
import { scheduleOf } from "./flash/Problem.ts"
import { siblings } from "./flash/siblings.ts"
import * as Intermediates from "./Intermediates.ts"
import * as Program from "./Program.ts"

/** What one call costs, counted from the steps that its lengths select. */
export const statsOf = (plan: Plan, program: Program.Program, limits: Limits, sizes: Bindings): Stats => {
  const steps = Program.steps(program, sizes)
  return {
    dispatches: steps.length,
    scratchBytes: Intermediates.of(program, steps, sizes, limits).buffers.reduce((sum, n) => sum + n, 0),
    keyValueBytesRead: keyValueBytes(plan, limits, sizes),
    pipelines: program.kernels.length
  }
}

/**
 * What attention reads of keys and values. A contraction in its place reads its right operand once for each tile of rows, whether
 * that is a key, a value or a weight of a projection: the graph does not say.
 */
const keyValueBytes = (plan: Plan, limits: Limits, sizes: Bindings): number => {
  const { graph, schedules } = plan
  // What is computed together is read once: for the result, if that is among it.
  const joined = new Set<Node>()
  for (const group of siblings(plan, limits).values()) {
    const counted = group.find(givesResult) ?? group[0]
    for (const member of group) if (member !== counted) joined.add(member)
  }
  const inside = (body: Graph, schedule: (node: Node) => Schedule | undefined): number =>
    body.nodes.reduce((sum, node) => {
      switch (node.op) {
        case "fused":
          return sum + (joined.has(node) ? 0 : inside(node.attrs.body, () => schedule(node)))
        case "flash_attention":
          return sum + keyValueBytesRead(node, scheduleOf(node, schedule(node), limits), sizes)
        case "dot":
          return sum + rightBytes(node, schedule(node), sizes)
        default:
          return sum
      }
    }, 0)
  return inside(graph, (node) => schedules.get(node))
}

const givesResult = ({ attrs }: NodeOf<"fused">): boolean =>
  attrs.body.nodes.some((n) => n.op === "flash_attention" && n.attrs.output === "result")

const rightBytes = (node: NodeOf<"dot">, schedule: Schedule | undefined, sizes: Bindings): number => {
  const [lhs, rhs] = node.operands as readonly [Node, Node]
  const shared = new Set([...node.attrs.lhsBatch, ...node.attrs.lhsContract])
  const rows = Shape.evaluate(lhs.type.shape, sizes).reduce(
    (n, size, axis) => (shared.has(axis) ? n : n * size),
    1
  )
  const bytes = Shape.evaluate(rhs.type.shape, sizes).reduce(
    (n, size) => n * size,
    DType.deviceBytes[rhs.type.dtype]
  )
  return bytes * Math.ceil(rows / (schedule?.kind === "matmul" ? schedule.rows : 1))
}
