import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import * as Print from "../../../ir/Print.ts"
import { limitsOf } from "../backend.ts"
import * as flags from "../flags.ts"
import { Io } from "../Io.ts"
import { load } from "../load.ts"
import { optimise } from "../optimise.ts"
import { ruleTable } from "../ruleTable.ts"

export const opt = Command.make(
  "opt",
  {
    target: flags.target,
    passes: flags.passes,
    ...flags.limits,
    stats: flags.stats,
    out: flags.out("Write the text IR to a file instead of standard output")
  },
  (config) =>
    Effect.gen(function* () {
      const io = yield* Io
      const { graph, options } = yield* load(config.target)
      const limits = yield* limitsOf(config)
      const compiled = yield* optimise(graph, {
        passes: config.passes,
        limits,
        donate: options.donate,
        statistics: config.stats
      })
      // The text IR on standard output stays text IR.
      if (config.stats) yield* io.tell(ruleTable(compiled.snapshots, io.paintError))
      if (Option.isSome(config.out)) yield* io.write(config.out.value, `${Print.graph(compiled.graph)}\n`)
      else yield* io.print(Print.graph(compiled.graph, { color: io.paint }))
    })
).pipe(
  Command.withDescription("Runs passes on text IR and writes text IR"),
  Command.withShortDescription("Run passes on text IR"),
  Command.withExamples([
    { command: "effuse opt --passes canonicalize,fuse-attention attention.eir" },
    {
      command: "effuse opt --stats attention.eir --out optimised.eir",
      description: "And what each rule did"
    },
    {
      command: "effuse dump attention.ts --before | effuse opt --passes canonicalize -",
      description: "From standard input"
    }
  ])
)
