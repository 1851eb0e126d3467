import { fileURLToPath } from "node:url"
import { rolldown } from "rolldown"
import { expect, it } from "vitest"

it("layers come into a page without modules of Node", async () => {
  const input = fileURLToPath(new URL("../../../src/nn/index.ts", import.meta.url))
  const bundle = await rolldown({ input, platform: "browser", external: [/^node:/], logLevel: "silent" })
  const { output } = await bundle.generate({ format: "esm" })
  await bundle.close()
  const [{ imports, dynamicImports }] = output
  expect([...imports, ...dynamicImports].filter((name) => /node:|webgpu/.test(name))).toEqual([])
})
