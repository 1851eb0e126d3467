import type { Graph } from "../../../ir/Graph.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Body from "../emit/body.ts"
import type { Frame } from "../emit/Frame.ts"
import type * as Value from "../emit/Value.ts"
import type { Problem } from "./Problem.ts"

/** A region as code that is inlined where it is called: scalars and positions in, values out. */
export type Region = (...scalars: ReadonlyArray<Value.Value>) => ReadonlyArray<Value.Value>

/** Captured tensors are read where they lie, or computed by the body around the node. */
export const inline = (frame: Frame, { job, captures }: Problem, graph: Graph): Region => {
  const outer = Body.make(frame, job.body)
  const scalars = graph.inputs.length - captures.length
  return (...values) => {
    const body = Body.body(frame, graph, (_, position) => {
      const capture = captures[position - scalars]
      return capture === undefined ? undefined : (indices) => outer.at(capture, indices)
    })
    graph.inputs.slice(0, scalars).forEach((input, i) => {
      body.give(input as Node, values[i] as Value.Value)
    })
    return graph.outputs.map(({ node }) => body.at(node, []))
  }
}

/** A region that may be absent. */
export const optional = (frame: Frame, problem: Problem, graph: Graph | undefined): Region | undefined =>
  graph && inline(frame, problem, graph)
