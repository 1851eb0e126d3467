import { Effect } from "effect"
import type { FloatDType } from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { FileError } from "../files/FileError.ts"
import * as Safetensors from "../files/Safetensors.ts"
import { nodeFiles } from "../nodeModule.ts"
import { floats } from "./floats.ts"
import * as Params from "./Params.ts"

export interface SaveOptions {
  /** Floats are rounded to it; as they are unless told otherwise. */
  readonly dtype?: FloatDType | undefined
}

export interface ShardOptions extends SaveOptions {
  /** A shard holds no more bytes of tensors than this, or one tensor; 5 GB unless told otherwise. */
  readonly maxBytes?: number | undefined
}

type Named = readonly [name: string, value: HostArray.HostArray]

const isFloat = (x: HostArray.HostArray): boolean => ["f64", "f32", "f16", "bf16"].includes(x.dtype)

const rounded = (x: HostArray.HostArray, { dtype }: SaveOptions): HostArray.HostArray =>
  dtype === undefined || !isFloat(x) ? x : floats(x, dtype)

/** What other readers look for. */
const metadata = { format: "pt" }

/** Parameters, or values by name, as one file of safetensors. */
export const safetensors = (params: object, options: SaveOptions = {}): Uint8Array =>
  Safetensors.write(
    new Map(
      Object.entries(Params.flatten<HostArray.HostArray>(params)).map(([name, x]) => [
        name,
        rounded(x, options)
      ])
    ),
    metadata
  )

const bytesOf = (x: HostArray.HostArray, { dtype }: SaveOptions): number =>
  dtype === undefined || !isFloat(x)
    ? HostArray.byteLength(x)
    : x.data.length * HostArray.arrayOf[dtype].BYTES_PER_ELEMENT

/** Values in their order, cut where a shard is full. */
const shardsOf = (
  values: ReadonlyArray<Named>,
  { maxBytes = 5e9, ...options }: ShardOptions
): ReadonlyArray<ReadonlyArray<Named>> => {
  const shards: Array<Array<Named>> = []
  let free = 0
  for (const entry of values) {
    const bytes = bytesOf(entry[1], options)
    if (shards.length === 0 || bytes > free) {
      shards.push([])
      free = maxBytes
    }
    shards.at(-1)?.push(entry)
    free -= bytes
  }
  return shards
}

/**
 * Writes parameters into a folder as Hugging Face does: `model.safetensors`, or shards and the index that says which tensor is where. One shard
 * is in memory at a time. Gives the names of the files. Node, Deno and Bun.
 */
export const saveFolder = (
  folder: string,
  params: object,
  options: ShardOptions = {}
): Effect.Effect<ReadonlyArray<string>, FileError> =>
  Effect.tryPromise({
    try: async () => {
      const { mkdir, writeFile } = await nodeFiles()
      await mkdir(folder, { recursive: true })
      const values = Object.entries(Params.flatten<HostArray.HostArray>(params))
      const shards = shardsOf(values, options)
      const written: Array<string> = []
      const write = async (file: string, data: string | Uint8Array): Promise<void> => {
        await writeFile(`${folder}/${file}`, data)
        written.push(file)
      }
      const of = (n: number): string => `${n}`.padStart(5, "0")
      const nameOf = (n: number): string =>
        shards.length < 2 ? "model.safetensors" : `model-${of(n + 1)}-of-${of(shards.length)}.safetensors`
      for (const [n, shard] of (shards.length === 0 ? [[]] : shards).entries())
        await write(nameOf(n), safetensors(Object.fromEntries(shard), options))
      if (shards.length > 1) {
        const weight_map = Object.fromEntries(
          shards.flatMap((s, n) => s.map(([name]) => [name, nameOf(n)] as const))
        )
        const total_size = values.reduce((sum, [, x]) => sum + bytesOf(x, options), 0)
        await write(
          "model.safetensors.index.json",
          `${JSON.stringify({ metadata: { total_size }, weight_map }, undefined, 2)}\n`
        )
      }
      return written
    },
    catch: (cause) =>
      new FileError({
        file: folder,
        message: `${folder}: ${cause instanceof Error ? cause.message : String(cause)}`
      })
  })
