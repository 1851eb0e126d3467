/**
 * Unpacks the software GPU and the browser that `@sparticuz/chromium` carries, once, into the cache.
 * Both come from npm, so a machine with nothing installed runs every GPU and browser test.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { brotliDecompressSync } from "node:zlib"

const modules = fileURLToPath(new URL("../node_modules", import.meta.url))
const archives = join(modules, "@sparticuz", "chromium", "bin")
const cache = join(modules, ".cache", "effuse")

/** The package's binaries are Linux x64 only. */
const supported = () => process.platform === "linux" && process.arch === "x64" && existsSync(archives)

/**
 * Fills a folder under a name of its own and renames it, so two processes at once never see half a folder.
 * @param {string} name
 * @param {(dir: string) => void} fill
 */
const once = (name, fill) => {
  const target = join(cache, name)
  if (existsSync(target)) return target
  const draft = `${target}.${process.pid}`
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(draft, { recursive: true })
  fill(draft)
  try {
    renameSync(draft, target)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    if (!existsSync(target)) throw error
  }
  return target
}

/**
 * The part of the tar format these archives use: plain files with short names.
 * @param {string} archive
 * @param {string} dir
 */
const untar = (archive, dir) => {
  const tar = brotliDecompressSync(readFileSync(join(archives, archive)))
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const field = (/** @type {number} */ from, /** @type {number} */ size) =>
      tar.toString("latin1", at + from, at + from + size).split("\0")[0] ?? ""
    const size = Number.parseInt(field(124, 12), 8)
    const file = join(dir, field(0, 100))
    if (field(156, 1) === "0") {
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, tar.subarray(at + 512, at + 512 + size), { mode: 0o755 })
    }
    at += 512 + Math.ceil(size / 512) * 512
  }
}

/** The folder with `libvulkan.so.1` and the SwiftShader driver, or undefined where none exists for this platform. */
export const softwareVulkan = () =>
  supported() ? once("swiftshader", (dir) => untar("swiftshader.tar.br", dir)) : undefined

/**
 * The Chromium executable and the environment it needs, or undefined where none exists for this platform.
 * The shared libraries of the package are used only where the system lacks some.
 */
export const packagedChromium = () => {
  if (!supported()) return undefined
  const dir = once("chromium", (draft) => {
    writeFileSync(
      join(draft, "chromium"),
      brotliDecompressSync(readFileSync(join(archives, "chromium.br"))),
      {
        mode: 0o755
      }
    )
    untar("al2023.tar.br", draft)
    // Chromium looks for its software GPU beside itself.
    untar("swiftshader.tar.br", draft)
  })
  const path = join(dir, "chromium")
  const missing = spawnSync("ldd", [path], { encoding: "utf8" }).stdout?.includes("not found")
  return { path, env: missing ? { LD_LIBRARY_PATH: join(dir, "lib") } : {} }
}
