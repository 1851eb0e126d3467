import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { Backend } from "../../../backends/Backend.ts"
import type { Location } from "../../../ir/errors.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import * as Explain from "../../../passes/explain.ts"
import { alike, decisionText, wrapped } from "../../../passes/explainText.ts"
import { pipelineText } from "../../compile.ts"
import { limitsOf, withBackend } from "../backend.ts"
import { bytes } from "../bytes.ts"
import { type Cost, costOf, sizesFor } from "../cost.ts"
import * as flags from "../flags.ts"
import { Io } from "../Io.ts"
import { parseDims } from "../inputs.ts"
import { load, type Target } from "../load.ts"
import { optimise, pipelineOf } from "../optimise.ts"
import type { Paint } from "../Paint.ts"
import { displayed } from "../paths.ts"
import { ruleTable } from "../ruleTable.ts"
import { table } from "../table.ts"

export const explain = Command.make(
  "explain",
  {
    target: flags.target,
    passes: flags.passes,
    arithmetic: flags.arithmetic,
    dim: flags.inputs.dim,
    ...flags.limits,
    stats: flags.stats,
    json: Flag.Boolean("json").pipe(
      Flag.withDefault(false),
      Flag.withDescription("As JSON, for tools; the README describes the fields")
    )
  },
  (config) =>
    Effect.gen(function* () {
      const io = yield* Io
      const target = yield* load(config.target)
      const { graph, options } = target
      yield* pipelineOf(config.passes)
      const limits = yield* limitsOf(config)
      const text = pipelineText(Option.getOrUndefined(config.passes) ?? options.pipeline)
      const compiled = yield* optimise(graph, {
        passes: Option.some(text),
        limits,
        donate: options.donate,
        arithmetic: Option.getOrElse(config.arithmetic, () => options.arithmetic),
        statistics: config.stats
      })
      const sizes = sizesFor(graph, new Map())
      const asked = yield* Effect.fromResult(parseDims(config.dim, Object.keys(sizes)))
      const cost = costOf(graph, compiled, limits, sizesFor(graph, asked))
      const explanation = Explain.explain(compiled)
      const backend = yield* withBackend(Option.none())(
        Effect.map(Backend, ({ name, description }) => ({ name, description }))
      )
      if (config.json) {
        const { name } = target
        return yield* io.print(
          JSON.stringify({ name, ...signatureOf(target), ...explanation, cost, backend }, null, 2)
        )
      }
      const line = yield* linesOf(explanation.decisions)
      const look = { paint: io.paint, width: io.columns ?? Infinity, file: displayed, line }
      const parts = [
        heading(target, io.paint),
        verdict(explanation, io.paint),
        ...alike(explanation.decisions).map(([d, times]) => decisionText(d, times, look)),
        ...(cost === undefined ? [] : [costText(cost, config.limits, io.paint)]),
        backendText(backend.description, io.paint, look.width),
        remarks(explanation.notes, io.paint, look.width),
        work(explanation.passes, io.paint, look.width),
        ...(config.stats
          ? [`${io.paint("strong", "rules")}\n${ruleTable(compiled.snapshots, io.paint)}`]
          : [])
      ]
      yield* io.print(parts.filter((part) => part !== "").join("\n\n"))
    })
).pipe(
  Command.withDescription(
    "Says what was fused, by which steps, what was not and why, what it costs, and what each pass did"
  ),
  Command.withShortDescription("Say what was fused, what was not, and why"),
  Command.withExamples([
    { command: "effuse explain attention.ts" },
    {
      command: "effuse explain attention.ts#softcap --dim T=8192 --dim S=8192",
      description: "Costs at these lengths"
    },
    { command: "effuse explain attention.ts --json", description: "The same for tools" }
  ])
)

const signatureOf = ({ graph }: Target) => ({
  inputs: Object.fromEntries(graph.inputs.map((i) => [i.attrs.name, TensorType.print(i.type)])),
  outputs: Object.fromEntries(graph.outputs.map((o) => [o.name, TensorType.print(o.node.type)]))
})

/** Inputs of one type in a row, such as the weights of many layers, are named up to here. */
const mostInputs = 16

const heading = (target: Target, paint: Paint): string => {
  const { inputs, outputs } = signatureOf(target)
  const row = (way: string) => (pair: readonly [string, string]) => [
    `  ${way}`,
    pair[0],
    paint("type", pair[1])
  ]
  const all = Object.entries(inputs)
  const more = all.length - mostInputs
  const rows = [
    ...all.slice(0, mostInputs).map(row("in ")),
    ...(more > 0 ? [["  in ", paint("faint", `and ${more} more`)]] : []),
    ...Object.entries(outputs).map(row("out"))
  ]
  return `${paint("strong", target.name)}\n${table(rows)}`
}

/** The lines of people's files that decisions point at, of each file that can be read. */
const linesOf = (decisions: ReadonlyArray<Explain.Decision>) =>
  Effect.gen(function* () {
    const io = yield* Io
    const files = new Set(
      decisions.flatMap((d) => (d.at === undefined || d.at.file === "-" ? [] : [d.at.file]))
    )
    const texts = new Map<string, ReadonlyArray<string>>()
    for (const file of files) {
      const content = yield* Effect.orElseSucceed(io.read(file), () => undefined)
      if (content !== undefined) texts.set(file, new TextDecoder().decode(content).split(/\r?\n/))
    }
    return (at: Location): string | undefined => texts.get(at.file)?.[at.line - 1]
  })

const verdict = ({ fused, refused }: Explain.Explanation, paint: Paint): string => {
  const count = (n: number): string => (n === 1 ? "1 attention" : `${n} attentions`)
  if (fused + refused === 0) return paint("note", "There is no attention in it to fuse.")
  if (refused === 0) return paint("good", `${count(fused)} fused.`)
  if (fused === 0) return paint("bad", `${count(refused)} not fused.`)
  return `${paint("good", `${count(fused)} fused`)}, ${paint("bad", `${refused} not`)}.`
}

/** What the passes, which cut kernels and choose tiles, went by. */
const limitNames = {
  portable: "the limits of every device",
  device: "the limits of the adapter here"
} as const

const costText = (
  { sizes, compiled, unfused }: Cost,
  limits: keyof typeof limitNames,
  paint: Paint
): string => {
  const at = Object.entries(sizes).map(([s, n]) => `${s} = ${n}`)
  const title = `${paint("strong", "cost of a call")}${at.length === 0 ? "" : paint("faint", ` at ${at.join(", ")}`)}`
  const where = paint("faint", `  on WebGPU, with ${limitNames[limits]}`)
  const row = (name: string, s: Cost["compiled"]) => [
    `  ${name}`,
    String(s.dispatches),
    bytes(s.scratchBytes),
    bytes(s.keyValueBytesRead)
  ]
  const rows = [
    ["", "kernels", "scratch", "K and V read"].map((head) => paint("faint", head)),
    row("as compiled", compiled),
    ...(unfused === undefined ? [] : [row("unfused", unfused)])
  ]
  return `${title}\n${where}\n${table(rows, [1, 2, 3])}`
}

/** Where it would run on this machine, and why there. */
const backendText = (description: string, paint: Paint, width: number): string => {
  const lines = description.split("; ").flatMap((part) => wrapped(part, Math.max(20, width - 2)))
  return `${paint("strong", "runs on")}\n${lines.map((line) => `  ${line}`).join("\n")}`
}

/** Rows of a few short cells and a text that breaks at the edge of the terminal. */
const listed = (
  rows: ReadonlyArray<readonly [cells: ReadonlyArray<string>, text: string]>,
  paint: Paint,
  width: number,
  right: ReadonlyArray<number> = []
): string => {
  const lines = table(
    rows.map(([cells]) => [...cells, "|"]),
    right
  ).split("\n")
  return lines
    .flatMap((line, i) => {
      const start = line.slice(0, -1)
      const room = Math.max(20, width - start.length)
      const blank = " ".repeat(start.length)
      return wrapped(rows[i]?.[1] ?? "", room).map((text, n) =>
        `${n === 0 ? start : blank}${text === "" ? "" : paint("faint", text)}`.trimEnd()
      )
    })
    .join("\n")
}

const times = (n: number): string => (n === 1 ? "" : `×${n}`)

/** What passes remark, those that read alike once: kernels cut, tiles chosen. Masks are told with their attention. */
const remarks = (notes: ReadonlyArray<Explain.Note>, paint: Paint, width: number): string => {
  const told = notes
    .filter((n) => n.pass !== "analyse-mask")
    .map(({ pass, subject, text }) => ({ pass, subject, text }))
  if (told.length === 0) return ""
  const rows = alike(told).map(
    ([{ pass, subject, text }, n]) =>
      [[`  ${pass}`, times(n)], text === "" ? subject : `${subject}: ${text}`] as const
  )
  return `${paint("strong", "decisions")} ${paint("faint", "for WebGPU")}\n${listed(rows, paint, width)}`
}

/** What each pass did: nodes it left, time, rules. */
const work = (passes: ReadonlyArray<Explain.PassReport>, paint: Paint, width: number): string => {
  const rows = passes.map(({ pass, changed, milliseconds, rules, nodes }) => {
    const applied = Object.entries(rules).map(([rule, n]) => (n === 1 ? rule : `${rule} ×${n}`))
    const left = changed ? `${nodes} nodes` : "no change"
    return [[`  ${pass}`, left, `${milliseconds.toFixed(1)} ms`.padStart(9)], applied.join(", ")] as const
  })
  return `${paint("strong", "passes")}\n${listed(rows, paint, width, [2])}`
}
