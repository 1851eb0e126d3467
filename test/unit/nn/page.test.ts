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
    const [{ imports, dynamicImports }] = output
    expect([...imports, ...dynamicImports].filter((name) => /node:/.test(name))).toEqual([])
  }
)
