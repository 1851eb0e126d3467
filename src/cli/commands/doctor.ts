import { Effect } from "effect"
import { Command } from "effect/cli"
import { Backend } from "../../../backends/Backend.ts"
import * as Attention from "../../Attention.ts"
import * as Auto from "../../Auto.ts"
import { compile } from "../../compile.ts"
import { type Knob, knobs } from "../../knobs.ts"
import { spec } from "../../spec.ts"
import * as Wasm from "../../Wasm.ts"
import * as WebGpu from "../../WebGpu.ts"
import { CliFailure, quoted } from "../CliFailure.ts"
import { Io } from "../Io.ts"
import * as Machine from "../Machine.ts"
import type { Paint } from "../Paint.ts"
import { table } from "../table.ts"
import { version } from "../version.ts"

export const doctor = Command.make("doctor", {}, () =>
  Effect.gen(function* () {
    const io = yield* Io
    const { paint } = io
    const [good, bad] = [paint("good", "✓"), paint("bad", "✗")]
    const typescript = Machine.runsTypeScript()
    const dawn = Machine.webgpuPackage()
    const vulkan = Machine.softwareVulkan(io.env)
    const advice: Array<string> = []

    const opened = yield* Effect.result(
      Effect.provide(
        Effect.map(Backend, ({ description, limits }) => ({ description, limits })),
        WebGpu.layer
      )
    )
    const auto = yield* Effect.provide(
      Effect.map(Backend, ({ description }) => description),
      Auto.layer
    )
    const wasm = yield* Effect.result(compiledToWasm)
    const rows = [
      [good, "effuse", version()],
      [good, "runtime", `${Machine.runtime()} on ${process.platform} ${process.arch}`],
      typescript
        ? [good, "TypeScript", "modules run as .ts"]
        : [bad, "TypeScript", "this Node runs .js modules only"],
      dawn === undefined
        ? [Machine.hasNavigatorGpu() ? good : bad, "package webgpu", "not found"]
        : [good, "package webgpu", dawn],
      vulkan.ok === undefined
        ? [paint("faint", "·"), "software Vulkan", vulkan.text]
        : [vulkan.ok ? good : bad, "software Vulkan", vulkan.text],
      opened._tag === "Success"
        ? [good, "adapter", opened.success.description]
        : [bad, "adapter", opened.failure.what],
      ...(wasm._tag === "Success"
        ? wasm.success.map(([name, text]) => [good, name, text])
        : [[bad, "WebAssembly", wasm.failure.what]]),
      [good, "reference", "always there: runs everything without a device"],
      [good, "auto", auto]
    ]
    if (!typescript) advice.push("use Node 22.18 or newer to run .ts modules, or compile them first")
    if (dawn === undefined && !Machine.hasNavigatorGpu())
      advice.push("npm install webgpu gives Node WebGPU (Dawn)")
    if (vulkan.ok === false) advice.push("point EFFUSE_VULKAN at a folder with the files, or unset it")
    if (opened._tag === "Failure" && dawn !== undefined) advice.push(Machine.driverAdvice())
    yield* io.print(table(rows))

    if (opened._tag === "Success") {
      const { limits } = opened.success
      yield* io.print(`\n${paint("strong", "limits and features")}`)
      const shown = Object.entries(limits).map(([name, value]) => [
        `  ${name}`,
        typeof value === "object" ? `${value.min} to ${value.max}` : String(value)
      ])
      yield* io.print(table(shown))
    }

    yield* io.print(`\n${knobTable(io.env, paint)}`)
    if (advice.length > 0) {
      yield* io.print(`\n${paint("strong", "what to do")}`)
      for (const line of advice) yield* io.print(`  ${line}`)
    }
    if (opened._tag === "Failure") {
      return yield* new CliFailure({
        exit: "device",
        message: "there is no WebGPU here; other backends work"
      })
    }
  })
).pipe(
  Command.withDescription(
    "Says what this machine has: Node, WebGPU, adapter, limits, every knob with its value, and what to do; exit code 4 without an adapter"
  ),
  Command.withShortDescription("Say what this machine has, and what to do"),
  Command.withExamples([{ command: "effuse doctor" }])
)

/** What WebAssembly is here, and what an attention costs to compile. */
const compiledToWasm = Effect.gen(function* () {
  const backend = yield* Backend
  const started = performance.now()
  const shape = spec("f32", [1, 8, "T", 64])
  const { program } = yield* Effect.orDie(
    compile(({ q, k, v }) => Attention.scaledDotProductAttention(q, k, v, { mask: "causal" }), {
      q: shape,
      k: shape,
      v: shape
    })
  )
  const took = performance.now() - started
  const bytes = /module of (\d+) bytes/.exec(program)?.[1]
  return [
    ["WebAssembly", backend.description],
    ["", `causal attention is a module of ${bytes} bytes, compiled in ${took.toFixed(0)} ms`]
  ] as const
}).pipe(Effect.provide(Wasm.layer))

const headings: { readonly [K in Knob["kind"]]: string } = {
  environment: "environment variables",
  compile: "options of compile, with defaults",
  jit: "options of jit, with defaults",
  device: "options of WebGpu.layerWith, with defaults",
  wasm: "options of Wasm.layerWith, with defaults"
}

/** Every knob; variables that are set show their value. */
const knobTable = (env: { readonly [name: string]: string | undefined }, paint: Paint): string => {
  const row = (k: Knob): ReadonlyArray<string> => {
    const set = k.kind === "environment" ? env[k.name] : undefined
    return [
      `  ${k.name}`,
      set === undefined ? paint("faint", k.default) : paint("note", `= ${quoted(set)}`),
      k.meaning
    ]
  }
  const kinds = [...new Set(knobs.map((k) => k.kind))]
  return kinds
    .map(
      (kind) => `${paint("strong", headings[kind])}\n${table(knobs.filter((k) => k.kind === kind).map(row))}`
    )
    .join("\n\n")
}
