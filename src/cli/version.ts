import { existsSync, readFileSync } from "node:fs"

/** The package's version: its manifest is two folders above the sources, three above the built files. */
export const version = (): string => {
  for (const path of ["../../package.json", "../../../package.json"]) {
    const file = new URL(path, import.meta.url)
    if (existsSync(file))
      return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version
  }
  return "unknown"
}
