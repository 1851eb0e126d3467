import { fileURLToPath } from "node:url"
import { rolldown } from "rolldown"
import { expect, it } from "vitest"

it.each(["nn/index", "index", "promise"])(
  "src/%s comes into a page without modules of Node",
  async (entry) => {
    const input = fileURLToPath(new URL(`../../../src/${entry}.ts`, import.meta.url))
    const bundle = await rolldown({ input, platform: "browser", external: [/^node:/], logLevel: "silent" })
    const { output } = await bundle.generate({ format: "esm" })
    await bundle.close()
    const chunks = output.flatMap((o) => (o.type === "chunk" ? [o] : []))
    const imported = chunks.flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports])
    expect(imported.filter((name) => /node:/.test(name))).toEqual([])
    // Loaded by who has a device.
    const atOnce = chunks
      .filter(({ isDynamicEntry }) => !isDynamicEntry)
      .flatMap(({ moduleIds }) => moduleIds)
    expect(atOnce.filter((id) => id.includes("/backends/webgpu/wgsl/"))).toEqual([])
    expect(chunks.flatMap(({ moduleIds }) => moduleIds).some((id) => id.includes("/webgpu/wgsl/"))).toBe(
      entry !== "nn/index"
    )
  }
)
