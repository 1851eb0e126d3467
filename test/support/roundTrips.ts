import { Result } from "effect"
import { expect } from "vitest"
import * as Form from "../../ir/Form.ts"
import * as Graph from "../../ir/Graph.ts"
import * as Json from "../../ir/Json.ts"
import { portable } from "../../ir/Limits.ts"
import * as Parse from "../../ir/Parse.ts"
import * as Print from "../../ir/Print.ts"
import * as Verify from "../../ir/Verify.ts"
import type { Hook } from "../../passes/hooks.ts"

/** A graph is legal, and its text and its JSON are the graph again. */
export const expectRoundTrips = (graph: Graph.Graph): void => {
  const text = Print.graph(graph)
  const verified = Verify.graph(graph)
  expect(Result.isSuccess(verified) ? "" : `${verified.failure.message}\n${text}`).toBe("")
  const parsed = Result.getOrThrowWith(Parse.graph(text), (e) => new Error(`${e.message}\n${text}`))
  expect(Graph.equals(parsed, graph), `printed and parsed:\n${text}\nagain:\n${Print.graph(parsed)}`).toBe(
    true
  )
  const json = Result.getOrThrow(Json.parse(JSON.stringify(Json.encode(graph))))
  expect(Graph.equals(json, graph), `through JSON:\n${text}\nagain:\n${Print.graph(json)}`).toBe(true)
}

/**
 * After each pass: the graph is legal, in the form the pass leaves, round trips through text and JSON, and the pass
 * has no more to do where it takes what it leaves.
 */
export const checked: Hook = ({ pass, snapshot: { graph } }) => {
  expectRoundTrips(graph)
  if (pass.to !== "same") Result.getOrThrow(Form.check(graph, pass.to))
  const accepts = pass.from === "any" || Result.isSuccess(Form.check(graph, pass.from))
  if (!accepts) return []
  const again = pass.run(graph, { limits: portable, donated: new Set(), count: () => {} }).graph
  expect(
    Graph.equals(again, graph),
    `${pass.name} once:\n${Print.graph(graph)}\nand once more:\n${Print.graph(again)}`
  ).toBe(true)
  return []
}
