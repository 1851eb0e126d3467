/** What each public entry costs a web page, bundled whole and minified; fails when one needs Node to load. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { rolldown } from "rolldown"

const root = fileURLToPath(new URL("..", import.meta.url))
/** @type {{ exports: Record<string, string | { default: string }> }} */
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

const kilobytes = (/** @type {number} */ bytes) => `${(bytes / 1024).toFixed(1)} KB`.padStart(9)

for (const [name, target] of Object.entries(manifest.exports)) {
  if (typeof target === "string") continue
  // The optional peer is loaded on demand, in Node only.
  const bundle = await rolldown({
    input: join(root, target.default),
    platform: "browser",
    external: ["webgpu", /^node:/],
    logLevel: "warn"
  })
  const { output } = await bundle.generate({ format: "esm", minify: true, codeSplitting: false })
  await bundle.close()
  const entry = output[0]
  const needsNode = entry.imports.filter((id) => id.startsWith("node:") || id === "webgpu")
  console.log(
    `${name.padEnd(12)} ${kilobytes(entry.code.length)}  ${kilobytes(gzipSync(entry.code).length)} gz`
  )
  if (needsNode.length > 0) {
    console.error(`${name} cannot load in a browser: it imports ${needsNode.join(", ")}`)
    process.exitCode = 1
  }
}
