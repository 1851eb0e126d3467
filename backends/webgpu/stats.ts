import type { Bindings } from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { Limits } from "../../ir/Limits.ts"
import type { Node } from "../../ir/Node.ts"
import type { Schedule } from "../../ir/Schedule.ts"
import type { Plan, Stats } from "../Backend.ts"
import { keyValueBytesRead } from "./flash/keyValueBytes.ts"
import { scheduleOf } from "./flash/Problem.ts"
import * as Program from "./Program.ts"
import * as Size from "./Size.ts"

/** What one call costs, counted from the steps that its lengths select. */
export const statsOf = (plan: Plan, program: Program.Program, limits: Limits, sizes: Bindings): Stats => {
  const steps = Program.steps(program, sizes)
  const used = Program.slotsOf(steps)
  return {
    dispatches: steps.length,
    scratchBytes: program.slots.reduce(
      (sum, s, i) => (used.has(i) ? sum + Size.evaluate(s.bytes, sizes) : sum),
      0
    ),
    keyValueBytesRead: keyValueBytes(plan, limits, sizes),
    pipelines: program.kernels.length
  }
}

/** What the attention nodes of the plan read; contractions and copies in place of attention are not counted. */
const keyValueBytes = ({ graph, schedules }: Plan, limits: Limits, sizes: Bindings): number => {
  const inside = (body: Graph, schedule: (node: Node) => Schedule | undefined): number =>
    body.nodes.reduce((sum, node) => {
      if (node.op === "fused") return sum + inside(node.attrs.body, () => schedule(node))
      if (node.op !== "flash_attention") return sum
      return sum + keyValueBytesRead(node, scheduleOf(node, schedule(node), limits), sizes)
    }, 0)
  return inside(graph, (node) => schedules.get(node))
}
