import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

/** What is installed here, as far as a process can see without opening a device. */

export const runsTypeScript = (): boolean =>
  Boolean((process.features as { readonly typescript?: unknown }).typescript) ||
  "Deno" in globalThis ||
  "Bun" in globalThis

export const hasNavigatorGpu = (): boolean =>
  (globalThis as { readonly navigator?: { readonly gpu?: unknown } }).navigator?.gpu !== undefined

export const runtime = (): string => {
  const { bun, deno } = process.versions as { readonly [name: string]: string | undefined }
  if (bun !== undefined) return `Bun ${bun}`
  return deno === undefined ? `Node ${process.versions.node}` : `Deno ${deno}`
}

/** Version and folder of the optional package `webgpu`. */
export const webgpuPackage = (): string | undefined => {
  try {
    const entry = createRequire(import.meta.url).resolve("webgpu")
    const manifest = [dirname(entry), dirname(dirname(entry))]
      .map((folder) => join(folder, "package.json"))
      .find((file) => existsSync(file))
    if (manifest === undefined) return entry
    const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string }
    return `${version} in ${dirname(manifest)}`
  } catch {
    return undefined
  }
}

const needed = ["libvulkan.so.1", "vk_swiftshader_icd.json"]

/** Whether the folder of EFFUSE_VULKAN holds what it should. `ok` is undefined where it is not set. */
export const softwareVulkan = (env: {
  readonly [name: string]: string | undefined
}): { readonly ok: boolean | undefined; readonly text: string } => {
  const folder = env["EFFUSE_VULKAN"]
  if (folder === undefined) return { ok: undefined, text: "EFFUSE_VULKAN is not set" }
  const lacking = needed.filter((file) => !existsSync(join(folder, file)))
  return lacking.length === 0
    ? { ok: true, text: folder }
    : { ok: false, text: `${folder} lacks ${lacking.join(" and ")}` }
}

/** How to come by an adapter on this system. */
export const driverAdvice = (): string =>
  process.platform === "linux"
    ? "install a Vulkan driver (mesa-vulkan-drivers, or that of the card), or set EFFUSE_VULKAN to a folder with SwiftShader"
    : "install the driver of the graphics card"
