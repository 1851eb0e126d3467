/** Writes the generated parts of README.md, ARCHITECTURE.md and the gallery: `node scripts/docs.ts`. A test checks that they are fresh. */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Result } from "effect"
import { lower } from "../backends/webgpu/lower.ts"
import { statsOf } from "../backends/webgpu/stats.ts"
import * as gallery from "../examples/gallery/show.ts"
import { fn, signature } from "../examples/slidingWindow.ts"
import { choose } from "../ir/chooseFlash.ts"
import * as DType from "../ir/DType.ts"
import { workgroupBytes } from "../ir/flashBudget.ts"
import * as Limits from "../ir/Limits.ts"
import * as Print from "../ir/Print.ts"
import type { Arithmetic, FlashPrefill } from "../ir/Schedule.ts"
import * as Pipeline from "../passes/Pipeline.ts"
import { passes } from "../passes/passes.ts"
import { knobs } from "../src/knobs.ts"
import { trace } from "../src/trace.ts"
import * as LayerOptions from "./layerOptions.ts"
import * as Markdown from "./markdown.ts"

const traced = Result.getOrThrow(trace(fn as Parameters<typeof trace>[0], signature)).graph

const through = (text: string): Pipeline.Compiled =>
  Result.getOrThrow(
    Pipeline.run(Result.getOrThrow(Pipeline.parse(text)), traced, { limits: Limits.portable })
  )

const fenced = (language: string, text: string): string => `\`\`\`${language}\n${text}\n\`\`\``

const after = (): string => {
  const { snapshots } = through(Pipeline.defaultText)
  const found = snapshots.find(({ pass }) => pass === "fuse-attention")
  if (found === undefined) throw new Error("the default pipeline does not fuse attention")
  return fenced("eir", Print.graph(found.graph))
}

/** What a call costs, counted from the program that the passes lead to. */
const stats = (text: string, sizes: Readonly<Record<string, number>>) => {
  const { graph, schedules, memory } = through(text)
  if (memory === undefined) throw new Error("the pipeline plans no memory")
  const plan = { graph, schedules, memory }
  return statsOf(plan, lower(plan, Limits.portable), Limits.portable, sizes)
}

const cost = (): string => {
  const fused = Pipeline.defaultText
  const unfused = fused.replace("fuse-attention,", "").replace("unexpand-heads,", "")
  const lengths = [
    { B: 1, T: 512, S: 512 },
    { B: 1, T: 4096, S: 4096 }
  ]
  const rows = lengths.flatMap((sizes) =>
    (["unfused", "fused"] as const).map((kind) => {
      const { dispatches, scratchBytes, keyValueBytesRead } = stats(kind === "fused" ? fused : unfused, sizes)
      const numbers = [dispatches, scratchBytes, keyValueBytesRead].map((n) => n.toLocaleString("en"))
      return [`T ${sizes.T}, S ${sizes.S}, ${kind}`, ...numbers]
    })
  )
  return Markdown.table([["", "kernels", "bytes of intermediate memory", "bytes of K and V read"], ...rows])
}

const promotion = (): string => {
  const all: ReadonlyArray<DType.DType> = ["bool", "u32", "i32", "bf16", "f16", "f32", "f64"]
  return Markdown.table([
    ["", ...all.map((d) => `\`${d}\``)],
    ...all.map((a) => [`\`${a}\``, ...all.map((b) => DType.promote(a, b))])
  ])
}

const kinds = {
  environment: "environment",
  compile: "`compile`",
  jit: "`jit`",
  device: "`WebGpu.layerWith`",
  wasm: "`Wasm.layerWith`"
} as const

const knobTable = (): string =>
  Markdown.table([
    ["knob", "of", "default", "meaning"],
    ...knobs.map((k) => [`\`${k.name}\``, kinds[k.kind], k.default, k.meaning])
  ])

const pipeline = (): string => {
  const order = Pipeline.defaultText.split(",")
  return Markdown.table([
    ["pass", "why", "form"],
    ...[...passes.values()].map((pass) => [
      `\`${pass.name}\``,
      order.includes(pass.name) ? pass.summary : `(on request) ${pass.summary}`,
      `${pass.from} → ${pass.to}`
    ])
  ])
}

const large: Limits.Limits = { ...Limits.portable, maxComputeWorkgroupStorageSize: 32768 }

const devices: ReadonlyArray<readonly [name: string, limits: Limits.Limits, arithmetic?: Arithmetic]> = [
  ["GPU, 16 KiB of workgroup memory", Limits.portable],
  ["the same, products in f16", Limits.portable, "f16"],
  ["GPU, 32 KiB", large],
  ["the same, products in f16", large, "f16"],
  ["software, subgroups of 4", { ...Limits.portable, kind: "cpu", subgroups: { min: 4, max: 4 } }],
  ["software", { ...Limits.portable, kind: "cpu" }]
]

/** What is chosen for attention of four query heads to a key head. */
const schedules = (): string => {
  const tile = (p: FlashPrefill | undefined): string =>
    p === undefined ? "" : `${p.rows} x ${p.keys}, ${p.threads} threads${p.quads ? ", quads" : ""}`
  return Markdown.table([
    ["device", "head size", "prefill: rows x keys", "decode", "short queries", "workgroup memory"],
    ...devices.flatMap(([name, limits, arithmetic]) =>
      [64, 128, 256].map((size) => {
        const schedule = choose(limits, size, size, 4, arithmetic)
        const { prefill, decode, decodeRows, short } = schedule
        const few = `to ${decodeRows} rows, ${decode.threads} threads, ${decode.maxSplits} splits`
        const bytes = workgroupBytes(schedule, size, size, 4)
        return [name, String(size), tile(prefill), few, tile(short), `${bytes} bytes`]
      })
    )
  ])
}

const pieces = await gallery.load()

const drawn = (name: string): string => {
  const piece = pieces.get(name)
  if (piece === undefined) throw new Error(`there is no ${name} in the gallery`)
  return gallery.draw(piece)
}

/** What of a file is the mask or the score: all up to its last export before the piece, or what the piece says of itself. */
const written = (name: string): string => {
  const text = readFileSync(pathOf(`examples/gallery/${name}.ts`), "utf8")
  const [own = "", exhibit = ""] = text.split(/^export const attention = /m)
  const parts = own.replaceAll(/^import .*\n/gm, "").split(/\n\n(?=\S)/)
  const last = parts.findLastIndex((part) => /^export /m.test(part))
  const inline = exhibit.match(/^ {2}mask: \(.*?\) => (.*),$/m)?.[1] ?? ""
  return last < 0
    ? inline
    : parts
        .slice(0, last + 1)
        .join("\n\n")
        .trim()
}

const walk = (): string =>
  Object.entries(gallery.rooms)
    .flatMap(([room, names]) => [
      `## ${room}`,
      ...names.flatMap((name) => {
        const [about = "", , ...picture] = drawn(name).split("\n")
        return [
          `### [${name}](${name}.ts)`,
          about,
          fenced("ts", written(name)),
          fenced("text", picture.join("\n"))
        ]
      })
    ])
    .join("\n\n")

const sections: {
  readonly [file: string]: { readonly [name: string]: () => string }
} = {
  "README.md": {
    before: () => fenced("eir", Print.graph(traced)),
    after,
    cost,
    promotion,
    knobs: knobTable,
    options: LayerOptions.table,
    gallery: () => fenced("text", drawn("draftTree"))
  },
  "ARCHITECTURE.md": { pipeline, schedules },
  "examples/gallery/README.md": { walk }
}

const pathOf = (file: string): string => fileURLToPath(new URL(`../${file}`, import.meta.url))

/** Each file with its generated parts as they should be now. */
export const fresh = (): ReadonlyArray<{
  readonly file: string
  readonly path: string
  readonly text: string
}> =>
  Object.entries(sections).map(([file, parts]) => {
    const path = pathOf(file)
    const text = Object.entries(parts).reduce(
      (all, [name, write]) => Markdown.withSection(all, name, "scripts/docs.ts", write()),
      readFileSync(path, "utf8")
    )
    return { file, path, text }
  })

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { path, text } of fresh()) writeFileSync(path, text)
}
