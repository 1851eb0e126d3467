/** Loads Effuse as it is published, out of `dist/`, where it is imported by its sources: engines are compared as their users get them. */
import { existsSync } from "node:fs"
import { registerHooks } from "node:module"
import { fileURLToPath } from "node:url"

const root = new URL("../../", import.meta.url).href
const source = /^(src|ir|passes|backends)\/.*\.ts$/

registerHooks({
  resolve: (specifier, context, next) => {
    const found = next(specifier, context)
    const path = found.url.startsWith(root) ? found.url.slice(root.length) : ""
    if (!source.test(path)) return found
    const url = `${root}dist/${path.replace(/\.ts$/, ".js")}`
    return existsSync(fileURLToPath(url)) ? { ...found, url, format: "module" } : found
  }
})
