import { Result } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import { type FileError, refuse } from "./FileError.ts"
import * as JsonArray from "./JsonArray.ts"
import * as Npy from "./Npy.ts"
import * as Npz from "./Npz.ts"
import * as Safetensors from "./Safetensors.ts"

/** What a file holds: one array without a name, or arrays by name. */
export type Contents = HostArray | ReadonlyMap<string, HostArray>

type Reader = (bytes: Uint8Array, file: string) => Result.Result<Contents, FileError>

const readers: { readonly [extension: string]: Reader } = {
  npy: Npy.read,
  npz: Npz.read,
  safetensors: Safetensors.read,
  json: JsonArray.read
}

/** Extensions that `read` knows. */
export const extensions: ReadonlyArray<string> = Object.keys(readers)

/** Reads a file by its extension. */
export const read = (bytes: Uint8Array, file: string): Result.Result<Contents, FileError> => {
  const extension = /\.([^./\\]+)$/.exec(file)?.[1]?.toLowerCase() ?? ""
  const reader = Object.hasOwn(readers, extension) ? readers[extension] : undefined
  return reader === undefined
    ? Result.fail(
        refuse(file, "has an unknown extension", `use one of ${extensions.map((e) => `.${e}`).join(", ")}`)
      )
    : reader(bytes, file)
}
