import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { limits as wasmLimits } from "../../../backends/wasm/limits.ts"
import type * as Graph from "../../../ir/Graph.ts"
import * as Json from "../../../ir/Json.ts"
import * as Print from "../../../ir/Print.ts"
import { didYouMean } from "../../../ir/suggest.ts"
import type * as Pipeline from "../../../passes/Pipeline.ts"
import { passes as knownPasses } from "../../../passes/passes.ts"
import type { Snapshot } from "../../../passes/Snapshot.ts"
import { pipelineText } from "../../compile.ts"
import { limitsOf } from "../backend.ts"
import { type CliFailure, quoted, usage } from "../CliFailure.ts"
import * as Drawing from "../draw/Drawing.ts"
import { dot } from "../draw/dot.ts"
import { mermaid } from "../draw/mermaid.ts"
import { svg } from "../draw/svg.ts"
import * as flags from "../flags.ts"
import { Io } from "../Io.ts"
import { load } from "../load.ts"
import { optimise, pipelineOf } from "../optimise.ts"
import type { Paint } from "../Paint.ts"
import { wat } from "../wat.ts"

interface Options {
  readonly paint: Paint
  readonly locations: boolean
}

const formats = ["text", "json", "dot", "mermaid", "svg", "wat"] as const

type Format = (typeof formats)[number]

const printers: { readonly [F in Exclude<Format, "wat">]: (graph: Graph.Graph, options: Options) => string } =
  {
    text: (graph, { paint, locations }) => Print.graph(graph, { color: paint, locations }),
    json: (graph) => JSON.stringify(Json.encode(graph), null, 2),
    dot: (graph) => dot(Drawing.make(graph)),
    mermaid: (graph) => mermaid(Drawing.make(graph)),
    svg: (graph) => svg(Drawing.make(graph))
  }

export const dump = Command.make(
  "dump",
  {
    target: flags.target,
    after: Flag.String("after").pipe(
      Flag.withAlias("a"),
      Flag.optional,
      Flag.withMetavar("PASS"),
      Flag.withDescription("The graph after this pass. Default: after the last")
    ),
    before: Flag.Boolean("before").pipe(
      Flag.withDefault(false),
      Flag.withDescription("The graph as written, before any pass")
    ),
    all: Flag.Boolean("all").pipe(
      Flag.withDefault(false),
      Flag.withDescription("The graph as written and after each pass that changed it")
    ),
    format: Flag.Literals("format", formats).pipe(
      Flag.withAlias("f"),
      Flag.withDefault("text" as const),
      Flag.withDescription("How to write it; wat is the module that the WebAssembly backend runs")
    ),
    locations: Flag.Boolean("locations").pipe(
      Flag.withDefault(false),
      Flag.withDescription("End each node with the line of the source that wrote it")
    ),
    passes: flags.passes,
    arithmetic: flags.arithmetic,
    ...flags.limits,
    out: flags.out("Write to a file instead of standard output")
  },
  (config) =>
    Effect.gen(function* () {
      const io = yield* Io
      const chosen = [config.before, config.all, Option.isSome(config.after)].filter(Boolean).length
      if (chosen > 1) {
        return yield* usage("--before, --after and --all are three different questions", "ask one at a time")
      }
      if (config.all && config.format !== "text" && config.format !== "json") {
        return yield* usage(`--all prints text or json, not ${config.format}`, "choose one pass with --after")
      }
      const { format } = config
      if (format === "wat" && chosen > 0)
        return yield* usage(
          "--format wat prints what runs, after all passes",
          "leave out --before, --after and --all"
        )
      const { graph, options } = yield* load(config.target)
      yield* pipelineOf(config.passes)
      const paint: Paint = Option.isSome(config.out) ? (_, text) => text : io.paint
      const printing = { paint, locations: config.locations }
      const text = yield* Effect.gen(function* () {
        if (config.before && format !== "wat") return printers[format](graph, printing)
        const limits = format === "wat" ? wasmLimits : yield* limitsOf(config)
        const names = Option.getOrElse(config.passes, () =>
          options.pipeline === undefined ? pipelineText(undefined) : pipelineText(options.pipeline)
        )
        const compiled = yield* optimise(graph, {
          passes: Option.some(names),
          limits,
          donate: options.donate,
          arithmetic: Option.getOrElse(config.arithmetic, () => options.arithmetic)
        })
        if (format === "wat") return yield* wat(compiled)
        if (config.all) {
          return config.format === "json"
            ? JSON.stringify(stages(graph, compiled), null, 2)
            : everything(graph, compiled, printing)
        }
        const shown = Option.isNone(config.after)
          ? compiled.graph
          : yield* stageAfter(config.after.value, compiled.snapshots)
        return printers[format](shown, printing)
      })
      if (Option.isSome(config.out)) yield* io.write(config.out.value, `${text}\n`)
      else yield* io.print(text)
    })
).pipe(
  Command.withDescription("Prints the IR of a definition before, between or after the passes"),
  Command.withShortDescription("Print the IR before, between or after passes"),
  Command.withExamples([
    { command: "effuse dump attention.ts --after fuse-attention" },
    {
      command: "effuse dump attention.ts#gqa --all",
      description: "As written, then after each pass that changed it"
    },
    { command: "effuse dump attention.ts --before --format svg --out before.svg", description: "A picture" }
  ])
)

const stageAfter = (
  name: string,
  snapshots: ReadonlyArray<Snapshot>
): Effect.Effect<Graph.Graph, CliFailure> => {
  const found = snapshots.findLast((s) => s.pass === name)
  if (found !== undefined) return Effect.succeed(found.graph)
  const names = snapshots.map((s) => s.pass)
  const known = knownPasses.has(name) ? `the pass ${name} is not in this pipeline` : undefined
  return Effect.fail(
    usage(
      known ?? `there is no pass ${quoted(name)}`,
      (known === undefined ? didYouMean(name, names) : undefined) ?? `the passes are ${names.join(", ")}`
    )
  )
}

const stages = (graph: Graph.Graph, compiled: Pipeline.Compiled): unknown => [
  { stage: "before", graph: Json.encode(graph) },
  ...compiled.snapshots
    .filter((s) => s.changed)
    .map((s) => ({
      stage: `after ${s.pass}`,
      rules: Object.fromEntries(s.rules),
      graph: Json.encode(s.graph)
    }))
]

/** Comments of the text form stand between the graphs, so each stays text that can be read back. */
const everything = (graph: Graph.Graph, compiled: Pipeline.Compiled, options: Options): string => {
  const { paint } = options
  const parts = [`${paint("faint", "// as written")}\n${printers.text(graph, options)}`]
  for (const { pass, changed, rules, graph: after } of compiled.snapshots) {
    if (!changed) {
      parts.push(paint("faint", `// after ${pass}: no change`))
      continue
    }
    const applied = [...rules]
      .filter(([, times]) => times > 0)
      .map(([rule, times]) => (times === 1 ? rule : `${rule} ×${times}`))
      .join(", ")
    const title = `// after ${pass}${applied === "" ? "" : `: ${applied}`}`
    parts.push(`${paint("faint", title)}\n${printers.text(after, options)}`)
  }
  return parts.join("\n\n")
}
