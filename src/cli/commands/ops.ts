import { Effect, Option } from "effect"
import { Argument, Command } from "effect/cli"
import * as Attr from "../../../ir/Attr.ts"
import * as Node from "../../../ir/Node.ts"
import { isOpName, opNames } from "../../../ir/ops.ts"
import { didYouMean } from "../../../ir/suggest.ts"
import { quoted, usage } from "../CliFailure.ts"
import { Io } from "../Io.ts"
import type { Paint } from "../Paint.ts"
import { table } from "../table.ts"

export const ops = Command.make(
  "ops",
  {
    name: Argument.String("name").pipe(Argument.optional, Argument.withDescription("One op, in detail"))
  },
  ({ name }) =>
    Effect.gen(function* () {
      const io = yield* Io
      if (Option.isNone(name)) return yield* io.print(all(io.paint))
      if (!isOpName(name.value)) {
        return yield* usage(
          `there is no op ${quoted(name.value)}`,
          didYouMean(name.value, opNames) ?? "effuse ops lists them"
        )
      }
      yield* io.print(one(Node.specOf(name.value), io.paint))
    })
).pipe(
  Command.withDescription("Lists the ops of the IR, or says everything about one"),
  Command.withShortDescription("List the ops of the IR"),
  Command.withExamples([
    { command: "effuse ops" },
    { command: "effuse ops dot", description: "One op with its example" }
  ])
)

const all = (paint: Paint): string => {
  const specs = opNames.map(Node.specOf)
  const width = Math.max(...opNames.map((n) => n.length))
  return [...new Set(specs.map((s) => s.family))]
    .map((family) => {
      const rows = specs
        .filter((s) => s.family === family)
        .map((s) => `  ${paint("op", s.name.padEnd(width))}  ${s.summary}`)
      return [paint("strong", family), ...rows].join("\n")
    })
    .join("\n\n")
}

const one = (spec: Node.AnyOp, paint: Paint): string => {
  const attributes = Object.entries(spec.attrs).map(([name, { kind, optional }]) => {
    const how = Attr.inAnnotation(kind) ? "read from the type annotation" : Attr.describe[kind]
    return [`  ${paint("attr", name)}`, kind, `${how}${optional ? ", optional" : ""}`]
  })
  const facts = Object.entries(spec.facts).map(([fact, value]) =>
    value === true ? fact : `${fact} (${value})`
  )
  return [
    `${paint("op", spec.name)}  ${spec.summary}`,
    "",
    `${paint("strong", "family")}      ${spec.family}`,
    `${paint("strong", "operands")}    ${spec.operands.join(", ") || "none"}`,
    `${paint("strong", "facts")}       ${facts.join(", ") || "none"}`,
    ...(attributes.length === 0 ? [] : [paint("strong", "attributes"), table(attributes)]),
    "",
    paint("strong", "example"),
    ...spec.example
      .trim()
      .split("\n")
      .map((line) => `  ${line}`)
  ].join("\n")
}
