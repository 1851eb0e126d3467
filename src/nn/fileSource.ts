import { Effect } from "effect"
import { FileError } from "../files/FileError.ts"
import { nodeFiles } from "../nodeModule.ts"
import type { Source } from "./weights.ts"

const failed =
  (file: string) =>
  (cause: unknown): FileError =>
    new FileError({ file, message: `${file}: ${cause instanceof Error ? cause.message : String(cause)}` })

/** A file on this machine, of which only the parts that are asked for are read. Node, Deno and Bun. */
export const fileSource = (path: string): Effect.Effect<Source, FileError> =>
  Effect.tryPromise({
    try: async () => {
      const { open, stat } = await nodeFiles()
      const { size } = await stat(path)
      const read: Source["read"] = async (start, stop) => {
        const file = await open(path, "r")
        try {
          const bytes = new Uint8Array(stop - start)
          let done = 0
          // One read of Node ends before 2 GiB.
          for (let last = 1; last > 0 && done < bytes.length; done += last) {
            const length = Math.min(bytes.length - done, 2 ** 30)
            last = (await file.read(bytes, done, length, start + done)).bytesRead
          }
          return bytes.subarray(0, done)
        } finally {
          await file.close()
        }
      }
      return { name: path, size, read }
    },
    catch: failed(path)
  })

/** Files that an index names: a map from names of tensors to files beside it. */
const shardsOf = (file: string, text: string): ReadonlyArray<string> => {
  const index = JSON.parse(text) as { readonly weight_map?: { readonly [name: string]: unknown } } | null
  const names = [...new Set(Object.values(index?.weight_map ?? {}))]
  const wrong = names.find((n) => typeof n !== "string" || !/^[\w-][\w.-]*$/.test(n))
  if (wrong === undefined && names.length > 0) return names as ReadonlyArray<string>
  throw new FileError({
    file,
    message: `${file} names ${wrong === undefined ? "no file" : JSON.stringify(wrong)}`,
    hint: "its weight_map maps names of tensors to files beside it"
  })
}

/** The safetensors files of a model's folder: those that `model.safetensors.index.json` names, or `model.safetensors`. */
export const folderSources = (folder: string): Effect.Effect<ReadonlyArray<Source>, FileError> =>
  Effect.gen(function* () {
    const index = `${folder}/model.safetensors.index.json`
    const text = yield* Effect.promise(async () => {
      const { readFile } = await nodeFiles()
      return readFile(index, "utf8").catch(() => undefined)
    })
    if (text === undefined) return [yield* fileSource(`${folder}/model.safetensors`)]
    const names = yield* Effect.try({
      try: () => shardsOf(index, text),
      catch: (cause) => (cause instanceof FileError ? cause : failed(index)(cause))
    })
    return yield* Effect.all(names.map((n) => fileSource(`${folder}/${n}`)))
  })
