import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { type Browser, chromium, type Page } from "playwright-core"
import { rolldown } from "rolldown"
import { packagedChromium } from "../../scripts/unpack.mjs"

/** WebGPU on the software driver, in a browser that runs as any user in any container. */
const flags = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan"
]

/** The Chromium named by `EFFUSE_CHROMIUM`, else the one from npm, else an installed Chrome. */
export const launch = (): Promise<Browser> => {
  const installed = process.env["EFFUSE_CHROMIUM"]
  if (installed !== undefined) return chromium.launch({ executablePath: installed, args: flags })
  const packaged = packagedChromium()
  if (packaged === undefined) return chromium.launch({ channel: "chrome", args: flags })
  const env = { ...(process.env as Record<string, string>), ...packaged.env }
  return chromium.launch({ executablePath: packaged.path, env, args: flags })
}

/** One module with everything that a page's entry file imports, packages included. */
const bundlePage = async (entry: string): Promise<string> => {
  const bundle = await rolldown({
    input: entry,
    platform: "browser",
    external: ["webgpu", /^node:/],
    logLevel: "warn"
  })
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false })
  await bundle.close()
  return output[0].code
}

const blank = `<!doctype html><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,">`

/** Serves a page on 127.0.0.1, which browsers count as secure, so WebGPU is there. */
const serve = async (
  html: string,
  script: string,
  headers: { readonly [name: string]: string }
): Promise<{ readonly url: string; readonly close: () => Promise<void> }> => {
  const server = createServer((request, response) => {
    const isScript = request.url === "/page.js"
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html")
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    response.end(isScript ? script : html)
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  const { port } = server.address() as AddressInfo
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  }
  return { url: `http://127.0.0.1:${port}/`, close }
}

/**
 * Bundles `entry`, loads it in a real browser as a module of a blank page, or of `html` that has it as `/page.js`, and hands over the page and the module's
 * exports: `evaluate(name, argument)` calls the exported function `name` there and gives back what it resolves to, both
 * as JSON. An error that nobody catches in the page fails the test.
 */
export const withPage = async <A>(
  entry: string,
  use: (evaluate: (name: string, argument?: unknown) => Promise<unknown>, page: Page) => Promise<A>,
  html: string = blank,
  options: {
    /** Of everything that is served: whether the page is isolated, and its policy. */
    readonly headers?: { readonly [name: string]: string }
    /** Reports that the test is about. */
    readonly expected?: RegExp
  } = {}
): Promise<A> => {
  const { headers = {}, expected } = options
  const server = await serve(html, await bundlePage(entry), headers)
  try {
    const browser = await launch()
    try {
      const page = await browser.newPage()
      const problems: Array<string> = []
      page.on("pageerror", (error) => problems.push(error.stack ?? error.message))
      page.on("console", (message) => {
        if (message.type() === "error") problems.push(message.text())
      })
      await page.goto(server.url)
      const call = `async ([name, argument]) => (await import("/page.js"))[name](argument)`
      const result = await use(
        (name, argument) => page.evaluate(`(${call})(${JSON.stringify([name, argument ?? null])})`),
        page
      )
      const unexpected = problems.filter((p) => expected?.test(p) !== true)
      if (unexpected.length > 0) throw new Error(`the page reports:\n${unexpected.join("\n")}`)
      return result
    } finally {
      await browser.close()
    }
  } finally {
    await server.close()
  }
}
