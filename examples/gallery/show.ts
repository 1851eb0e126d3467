/** Draws the gallery: `npx node examples/gallery/show.ts` lists it, `npx node examples/gallery/show.ts causal alibi` draws two of it. */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { compile, Dim, type HostArray, Reference } from "../../src/index.ts"
import type { Exhibit } from "./exhibit.ts"

/** The files, in the order of a walk. */
export const rooms = {
  "By distance": [
    "causal",
    "slidingWindow",
    "dilatedWindow",
    "globalTokens",
    "prefixLanguageModel",
    "batched"
  ],
  "Documents in one sequence": ["documents", "packedDocuments", "sharedPrefix"],
  "Drafts and diffusion": ["draftTree", "draftTraining", "blockDiffusion"],
  "Pictures and video": [
    "visionCross",
    "neighborhood",
    "neighborhoodTiled",
    "neighborhoodMorton",
    "slidingTile",
    "slidingTileVideo",
    "videoSpatial",
    "videoTemporal",
    "chosenTiles"
  ],
  "Scores that are no longer plain products": [
    "alibi",
    "sandwich",
    "softcap",
    "graphDistance",
    "graphEdges",
    "ropeTerm",
    "activation"
  ]
} as const

/** All pieces by name. */
export const load = async (): Promise<ReadonlyMap<string, Exhibit>> => {
  const pieces = Object.values(rooms)
    .flat()
    .map(async (name) => {
      const file = new URL(`${name}.ts`, import.meta.url).href
      const { attention } = (await import(file)) as { readonly attention: Exhibit }
      return [name, attention] as const
    })
  return new Map(await Promise.all(pieces))
}

/** The arguments at the lengths of the exhibit. */
export const argumentsOf = ({ signature, lengths, data }: Exhibit): Readonly<Record<string, HostArray>> =>
  Object.fromEntries(
    Object.entries(signature).map(([name, { dtype, type }]) => {
      const shape = type.shape.map((d) => Dim.evaluate(d, lengths))
      const size = shape.reduce((a, b) => a * b, 1)
      const numbers = data[name] ?? Array.from({ length: size }, () => 0)
      const array = dtype === "f32" ? Float32Array : dtype === "i32" ? Int32Array : Uint8Array
      return [name, { dtype, shape, data: array.from(numbers) } as HostArray]
    })
  )

/** The weights of the first head, a row for each query: the attention itself, asked with values that are 1 at one key and 0 elsewhere. */
export const weights = (exhibit: Exhibit) =>
  Effect.gen(function* () {
    const { fn, signature, options } = exhibit
    const attention = yield* compile(fn, signature, options)
    const given = argumentsOf(exhibit)
    const { shape, ...v } = given["v"] as HostArray<"f32">
    const [, , keys = 0, width = 1] = shape
    const columns: Array<ReadonlyArray<number>> = []
    for (let first = 0; first < keys; first += width) {
      const data = v.data.map((_, n) => (Math.floor(n / width) % keys === first + (n % width) ? 1 : 0))
      const out = (yield* attention({ ...given, v: { ...v, shape, data } })) as HostArray<"f32">
      const rows = Array.from({ length: out.shape[2] ?? 0 }, (_, i) => i)
      for (let e = 0; e < width && first + e < keys; e++)
        columns.push(rows.map((i) => out.data[i * width + e] as number))
    }
    const rows = (columns[0] ?? []).map((_, i) => columns.map((column) => column[i] as number))
    return rows
  }).pipe(Effect.provide(Reference.layer))

const shades = ["··", "░░", "▒▒", "▓▓", "██"]

/** A line for each query, a mark for each key: the darker, the nearer its weight is to the largest of the row. */
export const picture = (rows: ReadonlyArray<ReadonlyArray<number>>): string =>
  rows
    .map((row) => {
      const most = Math.max(...row)
      return row.map((w) => shades[Math.ceil((4 * Math.max(w, 0)) / most)] ?? "██").join("")
    })
    .join("\n")

/** The piece as `show.ts` prints it. */
export const draw = (exhibit: Exhibit): string =>
  `${exhibit.about}\n\n${picture(Effect.runSync(weights(exhibit)))}`

const list = (pieces: ReadonlyMap<string, Exhibit>): string =>
  Object.entries(rooms)
    .map(([room, names]) => {
      const lines = names.map((name) => `  ${name.padEnd(20)} ${pieces.get(name)?.about}`)
      return [room, ...lines, ""].join("\n")
    })
    .join("\n")

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const pieces = await load()
  const asked = process.argv.slice(2)
  if (asked.length === 0) console.log(`${list(pieces)}\nnpx node examples/gallery/show.ts causal draftTree`)
  for (const name of asked) {
    const piece = pieces.get(name)
    if (piece === undefined) {
      console.error(`there is no ${name} in the gallery; without a name all are listed`)
      process.exitCode = 2
    } else console.log(`${draw(piece)}\n`)
  }
}
