/** The process of one contender in Chromium: `node bench/race/pageWorker.ts peer threads webgpu|cpu`. Commands of the parent go on to the page. */
import { existsSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { extname } from "node:path"
import { fileURLToPath } from "node:url"
import { rolldown } from "rolldown"
import { launch } from "../../test/support/browser.ts"
import type { Answer, Command } from "./contender.ts"
import type { Place } from "./page.ts"

const [peer, threads, device] = process.argv.slice(2) as [string, string, "webgpu" | "cpu"]
const place: Place = { threads: Number(threads), webgpu: device === "webgpu" }
const at = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url))

/** Each module of `package.json` that a page loads, as what `nodeHost` makes of it. */
const engines: { readonly [name: string]: string } = {
  "@jax-js/jax": `export * from "@jax-js/jax"`,
  "onnxruntime-web/webgpu": `export * from ${JSON.stringify(at("node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs"))}`,
  "onnxruntime-web": `export * from ${JSON.stringify(at("node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs"))}`,
  "@tensorflow/tfjs-backend-wasm": `import * as tf from "@tensorflow/tfjs-core"
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm"
export { tf }
export const start = (threads) => {
  setWasmPaths("/node_modules/@tensorflow/tfjs-backend-wasm/wasm-out/")
  setThreadsCount(threads)
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", threads > 1)
  return tf.setBackend("wasm")
}`,
  "@tensorflow/tfjs-backend-webgpu": `import * as tf from "@tensorflow/tfjs-core"
import "@tensorflow/tfjs-backend-webgpu"
export { tf }
export const start = () => tf.setBackend("webgpu")`
}

/** A module with all that it imports. */
const bundled = async (input: string, source?: string): Promise<string> => {
  const bundle = await rolldown({
    input: source === undefined ? input : "virtual:engine",
    platform: "browser",
    cwd: at("."),
    external: ["webgpu", /^node:/],
    logLevel: "silent",
    plugins:
      source === undefined
        ? []
        : [
            {
              name: "engine",
              resolveId: (id: string) => (id === "virtual:engine" ? at("engine.js") : null),
              load: (id: string) => (id === at("engine.js") ? source : null)
            }
          ]
  })
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false })
  await bundle.close()
  return output[0].code
}

const types: { readonly [extension: string]: string } = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm"
}

const page = await bundled(at("race/page.ts"))
const blank = `<!doctype html><meta charset="utf-8"><title>bench</title><link rel="icon" href="data:,">`

const server = createServer(async (request, response) => {
  const { pathname, search } = new URL(request.url ?? "/", "http://localhost")
  const send = (type: string, body: string | Buffer): void => {
    // What lets a page have shared memory, and clocks that are not coarse.
    response.setHeader("cross-origin-opener-policy", "same-origin")
    response.setHeader("cross-origin-embedder-policy", "require-corp")
    response.setHeader("content-type", type)
    response.end(body)
  }
  const file = at(`.${pathname}`)
  const engine = engines[decodeURIComponent(search.slice(1))]
  if (pathname === "/page.js") send("text/javascript", page)
  else if (pathname === "/engine.js" && engine !== undefined)
    send("text/javascript", await bundled("engine", engine))
  else if (pathname.startsWith("/node_modules/") && existsSync(file))
    send(types[extname(file)] ?? "application/octet-stream", readFileSync(file))
  else send("text/html", blank)
})
await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
const browser = await launch()
const tab = await browser.newPage()
await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)

const answered = (answer: Answer): Answer => {
  if (!answer.ok || answer.value === null || typeof answer.value !== "object") return answer
  if (!("base64" in answer.value)) return answer
  const bytes = Uint8Array.from(Buffer.from(answer.value.base64 as string, "base64"))
  return { ok: true, value: new Float32Array(bytes.buffer) }
}

process.on("message", async (command: Command) => {
  const call = `async (argument) => (await import("/page.js")).handle(argument)`
  try {
    const answer = (await tab.evaluate(`(${call})(${JSON.stringify([peer, place, command])})`)) as Answer
    process.send?.(answered(answer))
  } catch (error) {
    process.send?.({ ok: false, cannot: false, message: String(error) } satisfies Answer)
  }
})
process.on("disconnect", () => process.exit())
