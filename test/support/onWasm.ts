import { Effect, Scope } from "effect"
import { Backend, type BackendShape, type Executable } from "../../backends/Backend.ts"
import * as Reference from "../../backends/reference/Reference.ts"
import * as Wasm from "../../backends/wasm/Backend.ts"
import type * as Dim from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Shape from "../../ir/Shape.ts"
import { layerWith } from "../../src/Wasm.ts"
import * as arrays from "./arrays.ts"
import { graphOf } from "./evaluate.ts"
import { planOf } from "./plans.ts"
import { expectOutputs } from "./tolerance.ts"

/** Runs an effect on a WebAssembly backend that closes with it. */
export const withWasm = <A, E>(
  run: (backend: BackendShape) => Effect.Effect<A, E, Scope.Scope | Backend>,
  options: Wasm.Options = {}
): Promise<A> =>
  Effect.runPromise(Effect.flatMap(Backend, run).pipe(Effect.provide(layerWith(options)), Effect.scoped))

export interface Compiled {
  readonly graph: Graph
  readonly run: (inputs: ReadonlyArray<HostArray>, sizes: Dim.Bindings) => Promise<ReadonlyArray<HostArray>>
  readonly executable: Executable
}

/** A text, or a graph, on a WebAssembly backend of its own. */
export const compiled = async (program: string | Graph, options: Wasm.Options = {}): Promise<Compiled> => {
  const graph = typeof program === "string" ? graphOf(program) : program
  const backend = await Effect.runPromise(Scope.provide(Wasm.make(options), Scope.makeUnsafe()))
  const executable = await Effect.runPromise(backend.compile(planOf(graph)))
  return {
    graph,
    executable,
    run: (inputs, sizes) => Effect.runPromise(executable.call(inputs, sizes, { donated: new Set<number>() }))
  }
}

/** Each element twice. */
export const double = `
%x: f32[T, S] = input {name = "x"}
%y: f32[T, S] = add %x, %x
return %y`

/** Compiled once and run at several lengths: each time what the float64 oracle makes of the graph, within its tolerance. */
export const agree = async (
  program: string | Graph,
  lengths: ReadonlyArray<Dim.Bindings>,
  options: { readonly data?: arrays.Kind; readonly inputs?: ReadonlyArray<HostArray> } & Wasm.Options = {}
): Promise<void> => {
  const { graph, run } = await compiled(program, options)
  for (const [n, sizes] of lengths.entries()) {
    const from = arrays.random(7 + n)
    const inputs =
      options.inputs ??
      graph.inputs.map((i) =>
        arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes), options.data)
      )
    const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
    expectOutputs(graph, sizes, await run(inputs, sizes), expected, { exponent: 8 })
  }
}
