/** The page that writes words, on each backend that a page has. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Effect, Stream } from "effect"
import type { Page } from "playwright-core"
import { expect, test } from "vitest"
import * as generating from "../../examples/generate.ts"
import * as small from "../../examples/smallLlama.ts"
import * as Reference from "../../src/Reference.ts"
import { withPage } from "../support/browser.ts"

const file = (name: string): string =>
  fileURLToPath(new URL(`../../examples/browser/${name}`, import.meta.url))
const html = readFileSync(file("generate.html"), "utf8").replace("./generate.ts", "/page.js")

const state = (page: Page, of: string): Promise<unknown> =>
  page.waitForFunction(`document.body.dataset.state === "${of}"`)

const text = async (page: Page): Promise<string> => (await page.textContent("#text")) ?? ""

test("the page writes the model's words on every backend, says what it cannot read, and stops", async () => {
  const words = 12
  const made = await Effect.runPromise(
    Stream.runCollect(generating.steps([small.read("the small cat sees a")], words)).pipe(
      Effect.provide(Reference.layer)
    )
  )
  const expected = small.write(made.flatMap(({ tokens }) => tokens[0] ?? []))
  await withPage(
    file("generate.ts"),
    async (_, page) => {
      await state(page, "done")
      expect(await page.getAttribute("#device", "class")).toBe("")
      expect((await text(page)).split(" ")).toHaveLength(65)
      await page.fill("#temperature", "0")
      await page.fill("#count", `${words}`)
      for (const backend of ["webgpu", "wasm"]) {
        await page.selectOption("#backend", backend)
        await state(page, "done")
        expect(await page.textContent("#device")).toContain(`Runs on ${backend}`)
        expect(await text(page)).toBe(`the small cat sees a ${expected}`)
        expect(await page.textContent("#cost")).toContain("20 bytes moved for each")
      }
      await page.fill("#prompt", "the elephant")
      await page.click("#go")
      await state(page, "done")
      expect(await page.textContent("#device")).toContain('does not know "elephant"')
      await page.fill("#prompt", "a bird")
      await page.fill("#count", "400")
      await page.evaluate(`(() => {
        const text = document.querySelector("#text")
        const press = () => text.childElementCount > 2 && document.querySelector("#stop").click()
        new MutationObserver(press).observe(text, { childList: true })
      })()`)
      await page.click("#go")
      await state(page, "done")
      expect((await text(page)).split(" ").length).toBeLessThan(400)
    },
    html
  )
})
