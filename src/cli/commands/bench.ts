import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { Backend } from "../../../backends/Backend.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import { type CompileOptions, compileGraph } from "../../compile.ts"
import * as Profile from "../../Profile.ts"
import { inMemory } from "../../ScheduleCache.ts"
import type { Trial } from "../../tune.ts"
import { withBackend } from "../backend.ts"
import { bytes } from "../bytes.ts"
import { CliFailure, usage } from "../CliFailure.ts"
import * as flags from "../flags.ts"
import { orFail } from "../fromError.ts"
import { Io } from "../Io.ts"
import { gather } from "../inputs.ts"
import { load } from "../load.ts"
import { compileOptions } from "../options.ts"
import { table } from "../table.ts"
import { trialTable, trialTime } from "../trialTable.ts"

export const bench = Command.make(
  "bench",
  {
    target: flags.target,
    ...flags.inputs,
    backend: flags.backend,
    arithmetic: flags.arithmetic,
    runs: Flag.Int("runs").pipe(Flag.withDefault(15), Flag.withDescription("Measured calls of each")),
    warmup: Flag.Int("warmup").pipe(Flag.withDefault(2), Flag.withDescription("Calls before, not measured")),
    profile: Flag.Boolean("profile").pipe(
      Flag.withDefault(false),
      Flag.withDescription("As many calls more, of which each kernel is timed")
    ),
    tune: Flag.Boolean("tune").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Measure how attention is cut into tiles first, and print what was tried")
    ),
    trace: Flag.String("trace").pipe(
      Flag.optional,
      Flag.withMetavar("FILE"),
      Flag.withDescription(
        "Write these calls for the performance tools of browsers, as JSON; implies --profile"
      )
    )
  },
  (config) =>
    Effect.gen(function* () {
      const io = yield* Io
      if (config.runs < 1 || config.warmup < 0) return yield* usage("--runs is 1 or more, --warmup 0 or more")
      const { graph, options } = yield* load(config.target)
      const { inputs, sizes } = yield* gather(graph, config)
      // A donated argument is gone after one call, and the same arguments serve all calls.
      const { arithmetic } = config
      const { donate: _, ...settings } = yield* compileOptions(options, { passes: Option.none(), arithmetic })
      const timed = config.profile || Option.isSome(config.trace)
      const trials: Array<Trial> = []
      const tuned = {
        sizes,
        inputs,
        cache: inMemory(),
        progress: (trial: Trial) => {
          trials.push(trial)
          Effect.runSync(io.tell(`${trial.number} of ${trial.of}: ${trialTime(trial)}`))
        }
      }
      const variants: ReadonlyArray<readonly [string, CompileOptions]> = [
        ["fused", config.tune ? { ...settings, tune: tuned } : settings],
        ["unfused", { ...settings, requireFused: false, pipeline: "canonicalize" }]
      ]
      yield* withBackend(config.backend)(
        Effect.scoped(
          Effect.gen(function* () {
            const backend = yield* Backend
            if (config.tune && backend.name !== "webgpu") {
              return yield* new CliFailure({
                exit: "device",
                message: `--tune is for WebGPU, and this is ${backend.name}`,
                hint: "add --backend webgpu"
              })
            }
            const compiled = yield* Effect.forEach(variants, ([name, o]) =>
              Effect.map(orFail(compileGraph(graph, o)), (f) => ({ name, f, times: [] as Array<number> }))
            )
            if (trials.length > 0) yield* io.print(`${trialTable(trials)}\n`)
            else if (config.tune)
              yield* io.tell(
                io.paintError("note", "note: no attention ran here, or none in time: nothing was tried")
              )
            const uploaded = yield* Effect.forEach(Object.entries(inputs), ([name, array]) =>
              Effect.map(orFail(backend.upload(array as HostArray)), (device) => [name, device] as const)
            )
            const arguments_ = Object.fromEntries(uploaded)
            // In turns, so that a machine that slows down slows both.
            for (let round = -config.warmup; round < config.runs; round++) {
              for (const { f, times } of compiled) {
                const started = performance.now()
                yield* orFail(f(arguments_))
                if (round >= 0) times.push(performance.now() - started)
              }
            }
            yield* io.print(
              `${backend.description}\n${sizesText(sizes)}${config.runs} calls each, results read back\n`
            )
            const rows = compiled.map(({ name, f, times }) => row(name, times, f.stats(sizes)))
            const heads = ["", "median", "fastest", "slowest", "dispatches", "scratch", "K and V read"]
            yield* io.print(table([heads, ...rows], [1, 2, 3, 4, 5, 6]))
            const [fused, unfused] = compiled.map(({ times }) => median(times))
            yield* io.print(`\nunfused takes ${((unfused ?? 0) / (fused ?? 1)).toFixed(2)} times as long`)
            const [first] = compiled
            if (first === undefined || !timed) return
            const calls = Array.from({ length: config.runs }, () => orFail(first.f.profile(arguments_)))
            yield* showProfile(yield* Effect.all(calls), config.trace)
          })
        )
      )
    })
).pipe(
  Command.withDescription(
    "Measures a definition fused (the default pipeline) against unfused (canonicalize only)"
  ),
  Command.withShortDescription("Measure fused against unfused"),
  Command.withExamples([
    { command: "effuse bench attention.ts --random 1 --dim B=1 --dim T=512 --dim S=512 --runs 20" },
    {
      command:
        "effuse bench attention.ts --random 1 --dim B=1 --dim T=512 --dim S=512 --backend webgpu --tune"
    },
    { command: "effuse bench attention.ts --random 1 --dim B=1 --dim T=512 --dim S=512 --trace trace.json" }
  ])
)

/** What each kernel of the fused program takes, and the calls as a file. */
const showProfile = (profiles: ReadonlyArray<Profile.Profile>, file: Option.Option<string>) =>
  Effect.gen(function* () {
    const io = yield* Io
    const rows = Profile.byKernel(profiles).map(({ kernel, name, dispatches, time, share }) => [
      ...[String(kernel), name, String(Math.round(dispatches))],
      ...[milliseconds(time / 1e6), `${(100 * share).toFixed(1)} %`]
    ])
    const heads = ["kernel", "", "dispatches", "mean", "share"]
    yield* io.print(`\n${table([heads, ...rows], [0, 2, 3, 4])}`)
    const caveat = profiles[0] === undefined ? undefined : Profile.caveat(profiles[0])
    if (caveat !== undefined) yield* io.tell(io.paintError("note", `note: ${caveat}`))
    if (Option.isSome(file)) yield* io.write(file.value, Profile.trace(profiles))
  })

const sizesText = (sizes: { readonly [symbol: string]: number }): string => {
  const text = Object.entries(sizes).map(([s, n]) => `${s} = ${n}`)
  return text.length === 0 ? "" : `${text.join(", ")}; `
}

const median = (times: ReadonlyArray<number>): number => {
  const sorted = [...times].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[half] as number)
    : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2
}

const milliseconds = (t: number): string => `${t.toFixed(2)} ms`

interface Counted {
  readonly dispatches: number
  readonly scratchBytes: number
  readonly keyValueBytesRead: number
}

const row = (name: string, times: ReadonlyArray<number>, stats: Counted): ReadonlyArray<string> => [
  name,
  milliseconds(median(times)),
  milliseconds(Math.min(...times)),
  milliseconds(Math.max(...times)),
  String(stats.dispatches),
  bytes(stats.scratchBytes),
  bytes(stats.keyValueBytesRead)
]
