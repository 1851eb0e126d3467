import { expect } from "vitest"
import type * as Dim from "../../ir/Dim.ts"
import type * as Graph from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Tolerance from "../../ir/Tolerance.ts"

/** Fails with the worst element unless `actual` is within the tolerance of `expected`. */
export const expectClose = (actual: HostArray, expected: HostArray, tolerance: Tolerance.Tolerance): void => {
  const comparison = Tolerance.compare(actual, expected, tolerance)
  expect(comparison.ok, comparison.message).toBe(true)
}

/** The outputs of a graph against what is expected of it, each within the tolerance that the graph derives. */
export const expectOutputs = (
  graph: Graph.Graph,
  sizes: Dim.Bindings,
  actual: ReadonlyArray<HostArray>,
  expected: ReadonlyArray<HostArray>,
  options: Tolerance.Options = {}
): void => {
  expect(actual.length).toBe(expected.length)
  Tolerance.of(graph, sizes, options).forEach((tolerance, i) => {
    expectClose(actual[i] as HostArray, expected[i] as HostArray, tolerance)
  })
}
