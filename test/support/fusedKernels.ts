import { Result } from "effect"
import { expect } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import { anchors } from "../../ir/anchors.ts"
import type * as Dim from "../../ir/Dim.ts"
import * as Form from "../../ir/Form.ts"
import { type Limits, portable } from "../../ir/Limits.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Verify from "../../ir/Verify.ts"
import { fuseElementwise } from "../../passes/fuseElementwise.ts"
import * as arrays from "./arrays.ts"
import { graphOf } from "./evaluate.ts"

/** What each kernel of a text is around, in order; the graph of kernels is checked, and gives what the text gives. */
export const fusedKernels = (
  text: string,
  sizes: Dim.Bindings,
  change: Partial<Limits>
): ReadonlyArray<string> => {
  const graph = graphOf(text)
  const limits = { ...portable, ...change }
  const fused = fuseElementwise.run(graph, { limits, donated: new Set(), count: () => {} }).graph
  expect(Result.isSuccess(Verify.graph(fused))).toBe(true)
  expect(Result.isSuccess(Form.check(fused, "kernels"))).toBe(true)
  const from = arrays.random(5)
  const inputs = graph.inputs.map((i) =>
    arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes), "uniform")
  )
  const [before, after] = [graph, fused].map((g) =>
    Reference.evaluate(g, inputs, sizes, { precision: "f64" })
  )
  expect(after).toEqual(before)
  return fused.nodes.flatMap((n) =>
    n.op === "fused"
      ? [n.attrs.body.nodes.flatMap(({ op }) => (anchors.has(op) ? [op] : [])).join(" ") || "map"]
      : []
  )
}
