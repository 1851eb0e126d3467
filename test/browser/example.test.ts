/** The page of examples/browser, in a browser: it runs, draws, and answers when another mask is chosen. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Page } from "playwright-core"
import { expect, test } from "vitest"
import { withPage } from "../support/browser.ts"

const file = (name: string): string =>
  fileURLToPath(new URL(`../../examples/browser/${name}`, import.meta.url))
const html = readFileSync(file("index.html"), "utf8").replace("./page.ts", "/page.js")

/** Of the pixels above the diagonal, how many hold weight. */
const above = (page: Page): Promise<unknown> =>
  page.evaluate(`(() => {
    const { data, width } = document.querySelector("canvas").getContext("2d").getImageData(0, 0, 96, 96)
    let count = 0
    for (let row = 0; row < width; row++)
      for (let column = row + 1; column < width; column++) if (data[4 * (row * width + column)] < 255) count++
    return count
  })()`)

test("the example page draws what a query sees, and fuses", async () => {
  await withPage(
    file("page.ts"),
    async (evaluate, page) => {
      expect(await evaluate("state")).toBe("ready")
      expect(await page.textContent("#device")).toContain("Running on")
      expect(await page.textContent("#explain")).toContain("1 fused, 0 refused")
      expect(await above(page)).toBe(0)
      await page.selectOption("#mask", "all")
      await page.waitForFunction(`document.body.dataset.shows === "all"`)
      expect(await page.textContent("#explain")).toContain("1 fused, 0 refused")
      expect(await above(page)).toBeGreaterThan(0)
    },
    html
  )
})
