import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"
import { withPage } from "../support/browser.ts"

const entry = fileURLToPath(new URL("pages/device.ts", import.meta.url))

test("a compute shader runs in a real browser", async () => {
  await withPage(entry, async (evaluate) => {
    expect(await evaluate("adapter")).toBe("swiftshader")
    expect(await evaluate("compute", 20.5)).toBe(42)
  })
})

test("a stray error in the page fails its test", async () => {
  const run = withPage(entry, async (evaluate, page) => {
    await evaluate("stray")
    await page.waitForTimeout(50)
  })
  await expect(run).rejects.toThrow("nobody catches this")
})
