import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import * as MemoryPlan from "../../../ir/MemoryPlan.ts"
import { pipelineText } from "../../compile.ts"
import { limitsOf } from "../backend.ts"
import * as flags from "../flags.ts"
import { isKnownError, type KnownError, orFail } from "../fromError.ts"
import { Io } from "../Io.ts"
import { load } from "../load.ts"
import { optimise, pipelineOf } from "../optimise.ts"

export const wgsl = Command.make(
  "wgsl",
  {
    target: flags.target,
    passes: flags.passes,
    arithmetic: flags.arithmetic,
    ...flags.limits,
    plan: Flag.Boolean("plan").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Kernels, buffers and dispatch sizes only, without their code")
    ),
    out: flags.out("Write to a file instead of standard output")
  },
  (config) =>
    Effect.gen(function* () {
      const io = yield* Io
      const { graph, options } = yield* load(config.target)
      yield* pipelineOf(config.passes)
      const limits = yield* limitsOf(config)
      const text = pipelineText(Option.getOrUndefined(config.passes) ?? options.pipeline)
      const compiled = yield* optimise(graph, {
        passes: Option.some(text),
        limits,
        donate: options.donate,
        arithmetic: Option.getOrElse(config.arithmetic, () => options.arithmetic)
      })
      const memory = compiled.memory ?? MemoryPlan.none
      const program = yield* orFail(
        Effect.try({
          try: () => lower({ graph: compiled.graph, schedules: compiled.schedules, memory }, limits),
          catch: (cause): KnownError => {
            if (isKnownError(cause)) return cause
            throw cause
          }
        })
      )
      const plan = Program.print(program)
      const printed = config.plan ? plan : [commented(plan), ...program.kernels.map(source)].join("\n\n")
      if (Option.isSome(config.out)) yield* io.write(config.out.value, `${printed}\n`)
      else yield* io.print(printed)
    })
).pipe(
  Command.withDescription(
    "Prints the program of the WebGPU backend: kernels, buffers, dispatch sizes, and the WGSL"
  ),
  Command.withShortDescription("Print the WebGPU kernels of a definition"),
  Command.withExamples([
    { command: "effuse wgsl attention.ts --f16" },
    {
      command: "effuse wgsl attention.ts --plan --limits device",
      description: "What runs here, without the code"
    }
  ])
)

const source = (kernel: Program.Kernel, index: number): string =>
  `// kernel ${index}: ${kernel.name}\n${kernel.wgsl.trimEnd()}`

const commented = (text: string): string =>
  text
    .split("\n")
    .map((line) => `// ${line}`)
    .join("\n")
