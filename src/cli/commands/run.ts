import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import { Backend } from "../../../backends/Backend.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import { compileGraph } from "../../compile.ts"
import { withBackend } from "../backend.ts"
import * as flags from "../flags.ts"
import { orFail } from "../fromError.ts"
import { Io } from "../Io.ts"
import { gather } from "../inputs.ts"
import { load } from "../load.ts"
import { compileOptions } from "../options.ts"
import { checkOut, save } from "../save.ts"
import { summary } from "../summary.ts"

export const run = Command.make(
  "run",
  {
    target: flags.target,
    ...flags.inputs,
    backend: flags.backend,
    passes: flags.passes,
    arithmetic: flags.arithmetic,
    out: flags.out("Save the outputs: .npz, .safetensors, .npy (one output) or .json")
  },
  (config) =>
    Effect.gen(function* () {
      const io = yield* Io
      const { graph, options } = yield* load(config.target)
      if (Option.isSome(config.out)) yield* checkOut(config.out.value, graph.outputs.length)
      const settings = yield* compileOptions(options, config)
      const { inputs } = yield* gather(graph, config)
      const results = yield* withBackend(config.backend)(
        Effect.gen(function* () {
          const { description } = yield* Backend
          const compiled = yield* orFail(compileGraph(graph, settings))
          const out = (yield* orFail(compiled(inputs))) as { readonly [name: string]: HostArray }
          yield* io.tell(io.paintError("faint", `ran on ${description}`))
          return new Map(Object.entries(out))
        })
      )
      for (const [name, array] of results) yield* io.print(summary(name, array, io.paint))
      if (Option.isSome(config.out)) {
        yield* save(config.out.value, results)
        yield* io.tell(io.paintError("faint", `saved ${config.out.value}`))
      }
    })
).pipe(
  Command.withDescription("Runs a definition on files or random numbers and summarises what comes out"),
  Command.withShortDescription("Run a definition on files or random numbers"),
  Command.withExamples([
    { command: "effuse run attention.ts --random 1 --dim B=1 --dim T=64 --dim S=64" },
    {
      command: "effuse run attention.ts#gqa --input qkv.npz --out out.npz",
      description: "Inputs by their names in the file"
    },
    { command: "effuse run softmax.eir --input x=x.npy --backend reference" }
  ])
)
