import { expect } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import type * as Dim from "../../ir/Dim.ts"
import type * as Graph from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import { portable } from "../../ir/Limits.ts"
import type * as Node from "../../ir/Node.ts"
import * as Print from "../../ir/Print.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Verify from "../../ir/Verify.ts"
import { canonicalize } from "../../passes/canonicalize.ts"
import type { Diagnostic } from "../../passes/Diagnostic.ts"
import { fuseAttention } from "../../passes/fuseAttention.ts"
import { normalizeMask } from "../../passes/normalizeMask.ts"
import { normalizeSoftmax } from "../../passes/normalizeSoftmax.ts"
import type { Pass } from "../../passes/Pass.ts"
import { unexpandHeads } from "../../passes/unexpandHeads.ts"
import * as arrays from "./arrays.ts"
import { expectOutputs } from "./tolerance.ts"

/** The passes in front of fusion, and fusion. */
export const toFusion: ReadonlyArray<Pass> = [
  canonicalize,
  normalizeSoftmax,
  normalizeMask,
  unexpandHeads,
  fuseAttention
]

/** What passes make of a graph. */
export const through = (graph: Graph.Graph, ...passes: ReadonlyArray<Pass>) => {
  const counts = new Map<string, number>()
  const diagnostics: Array<Diagnostic> = []
  const count = (rule: string, times = 1): void => void counts.set(rule, (counts.get(rule) ?? 0) + times)
  let current = graph
  for (const pass of passes) {
    const outcome = pass.run(current, { limits: portable, donated: new Set(), count })
    current = outcome.graph
    diagnostics.push(...outcome.diagnostics)
    const verified = Verify.graph(current)
    expect(
      verified._tag === "Success" ? "" : `${pass.name}: ${verified.failure.message}\n${Print.graph(current)}`
    ).toBe("")
  }
  return { graph: current, diagnostics, counts }
}

/** Values for all inputs: whatever the dtype asks for, the same for every seed. */
export const randomInputs = (
  graph: Graph.Graph,
  sizes: Dim.Bindings,
  seed: number
): ReadonlyArray<HostArray> => {
  const from = arrays.random(seed)
  return graph.inputs.map(({ type }) => arrays.array(from, type.dtype, Shape.evaluate(type.shape, sizes)))
}

/** Both graphs, computed by the float64 oracle, agree within the tolerance of the first. */
export const expectSameValue = (
  before: Graph.Graph,
  after: Graph.Graph,
  sizes: Dim.Bindings,
  inputs: ReadonlyArray<HostArray> = randomInputs(before, sizes, 7)
): void => {
  const evaluate = (graph: Graph.Graph) => Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
  expect(after.inputs.map((i) => i.attrs.name)).toEqual(before.inputs.map((i) => i.attrs.name))
  expectOutputs(before, sizes, evaluate(after), evaluate(before), { reassociated: true })
}

export const nodesOf = <K extends Node.Node["op"]>(
  graph: Graph.Graph,
  op: K
): ReadonlyArray<Extract<Node.Node, { op: K }>> =>
  graph.nodes.filter((n): n is Extract<Node.Node, { op: K }> => n.op === op)

/** Whether a value is made from the inputs by views alone: nothing that is repeated, nothing that is computed. */
export const isViewOfInput = (node: Node.Node): boolean => {
  let x: Node.Node | undefined = node
  while (x !== undefined && x.op !== "input") {
    if (x.op !== "reshape" && x.op !== "transpose" && x.op !== "slice") return false
    x = x.operands[0]
  }
  return x !== undefined
}
