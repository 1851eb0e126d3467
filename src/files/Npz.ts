import { deflateRawSync, inflateRawSync } from "node:zlib"
import type { Result } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import { type FileError, reading } from "./FileError.ts"
import { arraysOf, entriesOf } from "./npzArrays.ts"
import * as Zip from "./Zip.ts"

/** NumPy's .npz: a ZIP archive of .npy files, stored or deflated. Needs Node for the decompression. */

/** The size in the directory bounds what is inflated, so a small file cannot fill the memory unannounced. */
const inflate: Zip.Inflate = (data, size) => inflateRawSync(data, { maxOutputLength: Math.max(size, 1) })

/** Reads all arrays by name. Fails with `FileError`. */
export const read = (
  bytes: Uint8Array,
  file = "arrays.npz"
): Result.Result<ReadonlyMap<string, HostArray>, FileError> =>
  reading(() => arraysOf(Zip.read(bytes, file, inflate), file))

/** Writes arrays in the order of the map, as `numpy.savez` or, compressed, as `numpy.savez_compressed` does. */
export const write = (
  arrays: ReadonlyMap<string, HostArray>,
  options: { readonly compressed?: boolean } = {}
): Uint8Array =>
  Zip.write(entriesOf(arrays), options.compressed === true ? (data) => deflateRawSync(data) : undefined)
