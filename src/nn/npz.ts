import { Effect } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import { FileError } from "../files/FileError.ts"
import { arraysOf, entriesOf } from "../files/npzArrays.ts"
import * as Zip from "../files/Zip.ts"
import * as Params from "./Params.ts"
import type { Source, Weights } from "./weights.ts"

/** Raw deflate data, inflated by what pages and Node have, to no more than the archive says. */
const inflate = async (file: string, packed: Zip.Packed): Promise<Uint8Array> => {
  // Deflate makes no more than 1032 bytes of one.
  if (packed.size > 1032 * packed.bytes.length) throw Zip.damaged(file, packed, "there is too little of it")
  const whole = new Uint8Array(packed.size)
  let at = 0
  try {
    const stream = new Blob([packed.bytes as Uint8Array<ArrayBuffer>])
      .stream()
      .pipeThrough(new DecompressionStream("deflate-raw"))
    for await (const part of stream as unknown as AsyncIterable<Uint8Array>) {
      whole.set(part, at)
      at += part.length
    }
  } catch (cause) {
    throw Zip.damaged(file, packed, cause)
  }
  return whole.subarray(0, at)
}

/** Opens a NumPy archive of arrays by name, .npz, stored or compressed; all of it is read. */
export const openNpz = (source: Source): Effect.Effect<Weights, FileError> =>
  Effect.tryPromise({
    try: async () => {
      const { name: file } = source
      const entries: Array<Zip.Entry> = []
      for (const packed of Zip.directory(await source.read(0, source.size), file)) {
        const data = packed.method === 0 ? packed.bytes : await inflate(file, packed)
        entries.push(Zip.checked(file, packed, data))
      }
      return weightsOf(arraysOf(entries, file), file)
    },
    catch: (cause) =>
      cause instanceof FileError
        ? cause
        : new FileError({ file: source.name, message: `${source.name}: ${String(cause)}` })
  })

const weightsOf = (arrays: ReadonlyMap<string, HostArray>, file: string): Weights => ({
  names: [...arrays.keys()],
  shapeOf: (name) => arrays.get(name)?.shape,
  dtypeOf: (name) => arrays.get(name)?.dtype,
  bytesOf: (name) => arrays.get(name)?.data.byteLength ?? 0,
  read: (name) => {
    const array = arrays.get(name)
    return array === undefined
      ? Effect.fail(new FileError({ file, message: `there is no tensor ${JSON.stringify(name)}` }))
      : Effect.succeed(array)
  }
})

/** Parameters, or values by name, as `numpy.savez` writes them. NumPy has no bfloat16: such values become float32. */
export const npz = (params: object): Uint8Array =>
  Zip.write(entriesOf(new Map(Object.entries(Params.flatten<HostArray>(params)))))
