import type { Plan } from "../../backends/Backend.ts"
import type { Graph } from "../../ir/Graph.ts"
import * as MemoryPlan from "../../ir/MemoryPlan.ts"
import type { Node } from "../../ir/Node.ts"
import type { Schedules } from "../../ir/Schedule.ts"

/** The plan of a graph as it stands: no pass has run, every node becomes kernels of its own. */
export const planOf = (graph: Graph, schedules: Schedules = new Map()): Plan => ({
  graph,
  schedules,
  memory: MemoryPlan.none
})

/** The same, where the first result takes over the first input. */
export const inPlaceOf = (graph: Graph): Plan => ({
  graph,
  schedules: new Map(),
  memory: { inPlace: new Map([[graph.outputs[0]?.node as Node, 0]]) }
})
