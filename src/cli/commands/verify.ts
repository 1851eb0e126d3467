import { Effect } from "effect"
import { Command } from "effect/cli"
import { Backend } from "../../../backends/Backend.ts"
import * as Oracle from "../../../backends/reference/Reference.ts"
import type * as Graph from "../../../ir/Graph.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as Tolerance from "../../../ir/Tolerance.ts"
import { compileGraph } from "../../compile.ts"
import { withBackend } from "../backend.ts"
import { failed } from "../CliFailure.ts"
import * as flags from "../flags.ts"
import { orFail } from "../fromError.ts"
import { Io } from "../Io.ts"
import { gather } from "../inputs.ts"
import { load } from "../load.ts"
import { compileOptions } from "../options.ts"
import type { Paint } from "../Paint.ts"
import { table } from "../table.ts"

export const verify = Command.make(
  "verify",
  {
    target: flags.target,
    ...flags.inputs,
    backend: flags.backend,
    passes: flags.passes,
    arithmetic: flags.arithmetic
  },
  (config) =>
    Effect.gen(function* () {
      const io = yield* Io
      const { graph, options } = yield* load(config.target)
      const settings = yield* compileOptions(options, config)
      const { inputs, sizes } = yield* gather(graph, config)
      const { description, actual } = yield* withBackend(config.backend)(
        Effect.gen(function* () {
          const backend = yield* Backend
          const compiled = yield* orFail(compileGraph(graph, settings))
          const out = (yield* orFail(compiled(inputs))) as { readonly [name: string]: HostArray }
          return { description: backend.description, actual: out }
        })
      )
      // The oracle sees the graph as it was written: no pass has touched it.
      const ordered = graph.inputs.map((i) => inputs[i.attrs.name] as HostArray)
      const expected = Oracle.evaluate(graph, ordered, sizes, { precision: "f64" })
      const tolerances = Tolerance.of(graph, sizes, {
        reassociated: true,
        ...(settings.arithmetic === undefined ? {} : { arithmetic: settings.arithmetic })
      })
      yield* io.print(`compiled, on ${description}\nas written, on the reference interpreter in float64\n`)
      let wrong = 0
      for (const [i, output] of graph.outputs.entries()) {
        const tolerance = tolerances[i] ?? Tolerance.exact
        const compared = Tolerance.compare(
          actual[output.name] as HostArray,
          expected[i] as HostArray,
          tolerance
        )
        if (!compared.ok) wrong++
        yield* io.print(report(output, compared, tolerance, io.paint))
      }
      if (wrong > 0) {
        return yield* failed(`${wrong} of ${graph.outputs.length} outputs are outside their tolerance`)
      }
    })
).pipe(
  Command.withDescription(
    "Runs a definition compiled on a backend and as written on the float64 reference, and reports the worst element; exit code 1 when it is outside the tolerance derived from the graph"
  ),
  Command.withShortDescription("Compare a backend with the float64 reference"),
  Command.withExamples([
    { command: "effuse verify attention.ts --random 1 --dim B=1 --dim T=64 --dim S=64" },
    { command: "effuse verify attention.eir --input qkv.npz --backend webgpu" }
  ])
)

const report = (
  output: Graph.Output,
  compared: Tolerance.Comparison,
  tolerance: Tolerance.Tolerance,
  paint: Paint
): string => {
  const title = compared.ok ? paint("good", "✓") : paint("bad", "✗")
  const { worst } = compared
  if (worst === undefined) return `${title} ${output.name}  ${compared.message}`
  const allowed = `${tolerance.relative.toExponential(2)} · (|expected| + largest |expected|) + ${tolerance.absolute.toExponential(2)}`
  const rows = [
    ["  worst element", `[${worst.index.join(", ")}]`],
    ["  compiled", String(worst.actual)],
    ["  expected", String(worst.expected)],
    ["  error", `${worst.error.toExponential(3)} of ${worst.allowed.toExponential(3)} allowed`],
    ["  tolerance", allowed],
    ...(compared.failures === 0 ? [] : [["  outside", `${compared.failures} elements`]])
  ]
  return `${title} ${paint("strong", output.name)}\n${table(rows)}`
}
