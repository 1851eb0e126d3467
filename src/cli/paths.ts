import { isAbsolute, relative } from "node:path"
import { fileURLToPath } from "node:url"

/** A path as a person would write it here: relative where that is shorter. */
export const displayed = (file: string): string => {
  const path = file.startsWith("file:") ? fileURLToPath(file) : file
  if (!isAbsolute(path)) return path
  const near = relative(process.cwd(), path)
  return near !== "" && near.length < path.length ? near : path
}
