import { Effect } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import * as JsonArray from "../files/JsonArray.ts"
import * as Npy from "../files/Npy.ts"
import * as Npz from "../files/Npz.ts"
import * as Safetensors from "../files/Safetensors.ts"
import { type CliFailure, quoted, usage } from "./CliFailure.ts"
import { Io } from "./Io.ts"

type Writer = (arrays: ReadonlyMap<string, HostArray>) => string | Uint8Array | undefined

/** Undefined where the format holds one array and there are several. */
const writers: { readonly [extension: string]: Writer } = {
  npz: (arrays) => Npz.write(arrays),
  safetensors: (arrays) => Safetensors.write(arrays),
  npy: (arrays) => {
    const [only, second] = arrays.values()
    return only === undefined || second !== undefined ? undefined : Npy.write(only)
  },
  json: (arrays) =>
    `{\n${[...arrays].map(([name, array]) => `  ${JSON.stringify(name)}: ${JsonArray.write(array)}`).join(",\n")}\n}\n`
}

const extensionOf = (file: string): string => /\.([^./\\]+)$/.exec(file)?.[1]?.toLowerCase() ?? ""

/** Refuses a file that `save` could not write, before anything is computed. */
export const checkOut = (file: string, outputs: number): Effect.Effect<void, CliFailure> => {
  const extension = extensionOf(file)
  if (!Object.hasOwn(writers, extension)) {
    return Effect.fail(
      usage(`${quoted(file)} has an unknown extension`, `use .${Object.keys(writers).join(", .")}`)
    )
  }
  return extension === "npy" && outputs !== 1
    ? Effect.fail(
        usage(`a .npy file holds one array, there are ${outputs} outputs`, "use .npz or .safetensors")
      )
    : Effect.void
}

/** Writes arrays in the format of the extension. */
export const save = (
  file: string,
  arrays: ReadonlyMap<string, HostArray>
): Effect.Effect<void, CliFailure, Io> =>
  Effect.gen(function* () {
    yield* checkOut(file, arrays.size)
    const io = yield* Io
    const content = writers[extensionOf(file)]?.(arrays)
    if (content !== undefined) yield* io.write(file, content)
  })
