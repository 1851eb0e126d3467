import { deflateRawSync, inflateRawSync } from "node:zlib"
import { Result } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import { type FileError, quoted, reading, refuse } from "./FileError.ts"
import * as Npy from "./Npy.ts"
import * as Zip from "./Zip.ts"

/** NumPy's .npz: a ZIP archive of .npy files, stored or deflated. Needs Node for the decompression. */

const parse = (bytes: Uint8Array, file: string): ReadonlyMap<string, HostArray> => {
  // The size in the directory bounds what is inflated, so a small file cannot fill the memory unannounced.
  const entries = Zip.read(bytes, file, (data, size) =>
    inflateRawSync(data, { maxOutputLength: Math.max(size, 1) })
  )
  const arrays = new Map<string, HostArray>()
  for (const entry of entries) {
    if (!entry.name.endsWith(".npy")) {
      throw refuse(file, `entry ${quoted(entry.name)} is no .npy file`, "write it with numpy.savez")
    }
    const name = entry.name.slice(0, -".npy".length)
    if (arrays.has(name)) throw refuse(file, `entry ${quoted(entry.name)} is there twice`)
    arrays.set(
      name,
      Result.getOrThrowWith(Npy.read(entry.bytes, `${file}: entry ${quoted(entry.name)}`), (error) => error)
    )
  }
  return arrays
}

/** Reads all arrays by name. Fails with `FileError`. */
export const read = (
  bytes: Uint8Array,
  file = "arrays.npz"
): Result.Result<ReadonlyMap<string, HostArray>, FileError> => reading(() => parse(bytes, file))

/** Writes arrays in the order of the map, as `numpy.savez` or, compressed, as `numpy.savez_compressed` does. */
export const write = (
  arrays: ReadonlyMap<string, HostArray>,
  options: { readonly compressed?: boolean } = {}
): Uint8Array =>
  Zip.write(
    [...arrays].map(([name, array]) => ({ name: `${name}.npy`, bytes: Npy.write(array) })),
    options.compressed === true ? (data) => deflateRawSync(data) : undefined
  )
