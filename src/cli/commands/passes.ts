import { Effect } from "effect"
import { Command } from "effect/cli"
import type { Pass } from "../../../passes/Pass.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import { passes as known } from "../../../passes/passes.ts"
import { Io } from "../Io.ts"
import { table } from "../table.ts"

export const passes = Command.make("passes", {}, () =>
  Effect.gen(function* () {
    const io = yield* Io
    const names = Pipeline.defaultText.split(",")
    const row = (name: string, pass: Pass | undefined): ReadonlyArray<string> => [
      `  ${io.paint("op", name)}`,
      pass?.summary ?? "",
      io.paint("faint", pass === undefined ? "" : `${pass.from} → ${pass.to}`)
    ]
    const others = [...known.values()].filter((p) => !names.includes(p.name))
    yield* io.print(io.paint("strong", "default pipeline, in order"))
    yield* io.print(table(names.map((name) => row(name, known.get(name)))))
    if (others.length > 0) {
      yield* io.print(io.paint("strong", "\non request"))
      yield* io.print(table(others.map((p) => row(p.name, p))))
    }
  })
).pipe(
  Command.withDescription(
    "Lists the passes: the default pipeline with the reason of each, and those on request"
  ),
  Command.withShortDescription("List the passes with their reasons"),
  Command.withExamples([{ command: "effuse passes" }])
)
