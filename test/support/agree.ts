import * as Reference from "../../backends/reference/Reference.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import type { Arithmetic, Schedules } from "../../ir/Schedule.ts"
import * as Shape from "../../ir/Shape.ts"
import * as arrays from "./arrays.ts"
import { graphOf } from "./evaluate.ts"
import { runGraph } from "./runProgram.ts"
import { expectOutputs } from "./tolerance.ts"

export interface Options {
  /** Which kernels: those for GPUs or those for software devices. Both, unless given; all of them run anywhere. */
  readonly kind?: "gpu" | "cpu"
  readonly data?: arrays.Kind
  readonly inputs?: ReadonlyArray<HostArray>
  readonly schedules?: (graph: Graph) => Schedules
  /** What the schedules multiply in. */
  readonly arithmetic?: Arithmetic
}

/** Runs a text, or a graph, on the software GPU and on the reference and compares within the graph's tolerance. */
export const agree = async (
  program: string | Graph,
  sizes: { readonly [symbol: string]: number } = {},
  options: Options = {}
): Promise<void> => {
  const graph = typeof program === "string" ? graphOf(program) : program
  const from = arrays.random(7)
  const inputs =
    options.inputs ??
    graph.inputs.map((i) =>
      arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes), options.data)
    )
  const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
  for (const kind of options.kind === undefined ? (["cpu", "gpu"] as const) : [options.kind]) {
    const actual = await runGraph(graph, inputs, sizes, kind, options.schedules?.(graph))
    expectOutputs(graph, sizes, actual, expected, { exponent: 8, arithmetic: options.arithmetic ?? "f32" })
  }
}
