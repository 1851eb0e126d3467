import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import { printLocation } from "../../../ir/errors.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import type { Diagnostic } from "../../../passes/Diagnostic.ts"
import type * as Pipeline from "../../../passes/Pipeline.ts"
import { pipelineText } from "../../compile.ts"
import { limitsOf } from "../backend.ts"
import * as flags from "../flags.ts"
import { excerpt } from "../fromError.ts"
import { Io } from "../Io.ts"
import { load, type Target } from "../load.ts"
import { optimise, pipelineOf } from "../optimise.ts"
import type { Paint } from "../Paint.ts"
import { displayed } from "../paths.ts"
import { table } from "../table.ts"

export const explain = Command.make(
  "explain",
  { target: flags.target, passes: flags.passes, ...flags.limits },
  (config) =>
    Effect.gen(function* () {
      const io = yield* Io
      const target = yield* load(config.target)
      yield* pipelineOf(config.passes)
      const limits = yield* limitsOf(config)
      const text = pipelineText(Option.getOrUndefined(config.passes) ?? target.options.pipeline)
      const compiled = yield* optimise(target.graph, {
        passes: Option.some(text),
        limits,
        donate: target.options.donate
      })
      yield* io.print(signature(target, io.paint))
      const decisions = compiled.diagnostics.filter((d) => d.outcome !== "note")
      const notes = compiled.diagnostics.filter((d) => d.outcome === "note")
      yield* io.print(`\n${verdict(decisions, io.paint)}`)
      for (const one of decisions) yield* io.print(`\n${yield* decision(one, io.paint)}`)
      if (notes.length > 0) yield* io.print(`\n${remarks(notes, io.paint)}`)
      yield* io.print(`\n${work(compiled, io.paint)}`)
    })
).pipe(
  Command.withDescription("Says what was fused, what was not and why, and what each pass did"),
  Command.withShortDescription("Say what was fused, what was not, and why"),
  Command.withExamples([
    { command: "effuse explain attention.ts" },
    { command: "effuse explain attention.ts#softcap --passes canonicalize,fuse-attention" }
  ])
)

const signature = ({ name, graph }: Target, paint: Paint): string => {
  const rows = [
    ...graph.inputs.map((i) => ["  in ", i.attrs.name, paint("type", TensorType.print(i.type))]),
    ...graph.outputs.map((o) => ["  out", o.name, paint("type", TensorType.print(o.node.type))])
  ]
  return `${paint("strong", name)}\n${table(rows)}`
}

const verdict = (decisions: ReadonlyArray<Diagnostic>, paint: Paint): string => {
  const fused = decisions.filter((d) => d.outcome === "fused").length
  const refused = decisions.length - fused
  if (decisions.length === 0) return paint("note", "There is no attention in it to fuse.")
  const count = (n: number): string => (n === 1 ? "1 attention" : `${n} attentions`)
  if (refused === 0) return paint("good", `${count(fused)} fused.`)
  if (fused === 0) return paint("bad", `${count(refused)} not fused.`)
  return `${paint("good", `${count(fused)} fused`)}, ${paint("bad", `${refused} not`)}.`
}

/** What passes remark, each on a line: kernels cut, masks classified, tiles chosen. */
const remarks = (notes: ReadonlyArray<Diagnostic>, paint: Paint): string => {
  const rows = notes.map((d) => [
    `  ${d.pass}`,
    [d.subject, d.nearest, d.failed, d.suggestion].filter((text) => text !== undefined).join(": ")
  ])
  return `${paint("strong", "decisions")}\n${table(rows)}`
}

/** One decision about attention: what, where in the source, and what it rests on. */
const decision = (d: Diagnostic, paint: Paint) =>
  Effect.gen(function* () {
    const mark = d.outcome === "fused" ? paint("good", "✓ fused") : paint("bad", "✗ not fused")
    const label = d.label === undefined ? "" : ` ${JSON.stringify(d.label)}`
    const lines = [`${mark}  ${d.subject}${label}`]
    if (d.at !== undefined && d.at.file !== "unknown") {
      lines.push(paint("faint", `  at ${printLocation({ ...d.at, file: displayed(d.at.file) })}`))
      const source = yield* excerpt(d.at)
      if (source !== undefined) lines.push(indent(source, "  | "))
    }
    const facts: ReadonlyArray<readonly [string, string | undefined]> = [
      ["nearest", d.nearest],
      [d.outcome === "refused" ? "because" : "as", d.failed],
      ["try", d.suggestion],
      ["rules", d.rules === undefined || d.rules.length === 0 ? undefined : d.rules.join(", ")]
    ]
    for (const [name, text] of facts) {
      if (text !== undefined)
        lines.push(`  ${paint("strong", name.padEnd(8))} ${indent(text, " ".repeat(11)).trimStart()}`)
    }
    return lines.join("\n")
  })

const indent = (text: string, by: string): string =>
  text
    .split("\n")
    .map((line) => by + line)
    .join("\n")

/** What each pass did: nodes it left, time, rules. */
const work = ({ snapshots }: Pipeline.Compiled, paint: Paint): string => {
  const rows = snapshots.map(({ pass, changed, milliseconds, rules, graph }) => [
    `  ${pass}`,
    changed ? `${graph.nodes.length} nodes` : paint("faint", "no change"),
    `${milliseconds.toFixed(1)} ms`,
    paint("faint", applied(rules))
  ])
  return `${paint("strong", "passes")}\n${table(rows, [2])}`
}

/** Rules and how often each applied. */
const applied = (rules: ReadonlyMap<string, number>): string =>
  [...rules]
    .filter(([, times]) => times > 0)
    .map(([rule, times]) => (times === 1 ? rule : `${rule} ×${times}`))
    .join(", ")
