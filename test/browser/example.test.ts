/** The pages that people are shown, in a browser: that of examples/browser, and the one of the README. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Page } from "playwright-core"
import { expect, test } from "vitest"
import { withPage } from "../support/browser.ts"
import { blocksOf, writeProgram } from "../support/docs/blocks.ts"

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
      expect(await page.textContent("#device")).toMatch(
        /^Running on WebAssembly.*the WebGPU adapter is software/
      )
      expect(await page.textContent("#explain")).toContain("1 fused, 0 refused")
      expect(await page.textContent("#cost")).toMatch(/^Attention itself: 2 kernels, \d+ bytes/)
      expect(await above(page)).toBe(0)
      await page.selectOption("#mask", "all")
      await page.waitForFunction(`document.body.dataset.shows === "all"`)
      expect(await page.textContent("#explain")).toContain("1 fused, 0 refused")
      expect(await above(page)).toBeGreaterThan(0)
    },
    html
  )
})

test("the page of the README shows a softmax", async () => {
  const block = (info: string): string => {
    const found = blocksOf("README.md").find((b) => b.info === info)
    if (found === undefined) throw new Error(`the README has no block ${info}`)
    return found.text
  }
  await withPage(
    writeProgram("readme-page-in-browser", block("ts page"), "src"),
    async (_, page) => {
      await page.waitForFunction(`document.querySelector("#out").textContent !== "…"`)
      const [device, weights = ""] = ((await page.textContent("#out")) ?? "").split("\n")
      expect(device).toMatch(/^WebAssembly.*the WebGPU adapter is software/)
      const values = weights.split(" ").map(Number)
      const exps = [1, 2, 3].map(Math.exp)
      const sum = exps.reduce((a, b) => a + b)
      exps.forEach((e, i) => {
        expect(values[i]).toBeCloseTo(e / sum, 5)
      })
    },
    block("html").replace("./page.js", "/page.js")
  )
})
