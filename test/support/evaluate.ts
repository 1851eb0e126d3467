import { Result } from "effect"
import * as Reference from "../../backends/reference/Reference.ts"
import type * as Dim from "../../ir/Dim.ts"
import type * as Graph from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Parse from "../../ir/Parse.ts"

/** The graph of a text, which must be one. Nodes may be given without the `graph { … }` around them. */
export const graphOf = (text: string): Graph.Graph => {
  const whole = text.trimStart().startsWith("graph") ? text : `graph {\n${text}\n}`
  return Result.getOrThrowWith(Parse.graph(whole), (error) => error)
}

/** Evaluates a text on the reference; symbols are read off the inputs unless `sizes` gives them. */
export const evaluate = (
  text: string,
  inputs: ReadonlyArray<HostArray> = [],
  sizes: Dim.Bindings = {},
  options: Reference.Options = {}
): ReadonlyArray<HostArray> => {
  const graph = graphOf(text)
  return Reference.evaluate(graph, inputs, { ...Reference.bind(graph, inputs), ...sizes }, options)
}
