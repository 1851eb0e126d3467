/** Draws the gallery: `node examples/gallery/show.ts` lists it, `node examples/gallery/show.ts causal alibi` draws two of it. */
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { compile, Dim, type HostArray, Reference } from "../../src/index.ts"
import type { Exhibit } from "./exhibit.ts"

const folder = fileURLToPath(new URL(".", import.meta.url))
const tools = ["canvas", "exhibit", "show"]

/** All pieces by name. */
export const load = async (): Promise<ReadonlyMap<string, Exhibit>> => {
  const names = readdirSync(folder).flatMap((file) => (file.endsWith(".ts") ? [file.slice(0, -3)] : []))
  const pieces = names
    .filter((name) => !tools.includes(name))
    .sort()
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const pieces = await load()
  const asked = process.argv.slice(2)
  for (const [name, { about }] of asked.length === 0 ? pieces : []) console.log(`${name.padEnd(20)} ${about}`)
  for (const name of asked) {
    const piece = pieces.get(name)
    if (piece === undefined) {
      console.error(`there is no ${name}; without a name all are listed`)
      process.exitCode = 2
    } else console.log(`${piece.about}\n\n${picture(await Effect.runPromise(weights(piece)))}\n`)
  }
}
