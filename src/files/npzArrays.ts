import { Result } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import { quoted, refuse } from "./FileError.ts"
import * as Npy from "./Npy.ts"
import type * as Zip from "./Zip.ts"

/** What the entries of a .npz archive hold; runs anywhere. */

/** The arrays of unpacked entries by name. Throws `FileError`. */
export const arraysOf = (entries: ReadonlyArray<Zip.Entry>, file: string): ReadonlyMap<string, HostArray> => {
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

export const entriesOf = (arrays: ReadonlyMap<string, HostArray>): ReadonlyArray<Zip.Entry> =>
  [...arrays].map(([name, array]) => ({ name: `${name}.npy`, bytes: Npy.write(array) }))
