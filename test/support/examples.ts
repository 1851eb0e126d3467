import { Result } from "effect"
import type { Graph } from "../../ir/Graph.ts"
import { specOf } from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"
import * as Parse from "../../ir/Parse.ts"

/** The example of an op as a graph's text: its lines, and the last node returned. */
export const exampleText = (op: OpName): string => {
  const { example } = specOf(op)
  const last = [...example.matchAll(/^%(\w+):/gm)].at(-1)?.[1]
  return `graph {\n${example.replace(/^/gm, "  ")}\n  return %${last}\n}`
}

/** The graph of a text that is known to be right. */
export const graphOf = (text: string): Graph => {
  const result = Parse.graph(text)
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

export const exampleGraph = (op: OpName): Graph => graphOf(exampleText(op))
