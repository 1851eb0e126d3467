import { resolveObjectURL } from "node:buffer"
import { createRequire } from "node:module"
import { fileURLToPath, pathToFileURL } from "node:url"
import { Worker as Thread } from "node:worker_threads"
import { openDawn } from "../../src/webgpu/dawn.ts"
import type { Host } from "../peers/Peer.ts"
import { withThreads } from "../peers/tfjsThreads.ts"

const find = createRequire(new URL("../package.json", import.meta.url))

/** A `Worker` as browsers have it, for modules that know no other: its script is a blob. */
class WebWorker {
  onmessage: ((event: { readonly data: unknown }) => void) | undefined
  onerror: ((error: unknown) => void) | undefined
  readonly #thread: Promise<Thread>

  constructor(url: string) {
    this.#thread = (async () => {
      const source = await (resolveObjectURL(url) as Blob).text()
      const prelude = `const { parentPort } = require("node:worker_threads")
globalThis.self = globalThis
globalThis.postMessage = (data) => parentPort.postMessage(data)
parentPort.on("message", (data) => globalThis.onmessage({ data }))
`
      const thread = new Thread(prelude + source, { eval: true })
      thread.unref()
      thread.on("message", (data) => this.onmessage?.({ data }))
      thread.on("error", (error) => this.onerror?.(error))
      return thread
    })()
  }

  postMessage(data: unknown): void {
    void this.#thread.then((thread) => thread.postMessage(data))
  }
}

const load = async (name: string, threads: number): Promise<unknown> => {
  switch (name) {
    case "onnxruntime-node":
      return find(name)
    case "@tensorflow/tfjs-backend-webgpu": {
      const tf = find("@tensorflow/tfjs-core")
      find(name)
      return { tf, start: () => tf.setBackend("webgpu") }
    }
    case "@tensorflow/tfjs-backend-wasm": {
      const tf = find("@tensorflow/tfjs-core")
      find(name).setThreadsCount(threads)
      if (threads === 1) return { tf, start: () => tf.setBackend("wasm") }
      tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", true)
      return { tf, start: () => withThreads(threads, () => tf.setBackend("wasm")) }
    }
    case "onnxruntime-web":
      return import(pathToFileURL(find.resolve(name).replace(/\.js$/, ".mjs")).href)
    default:
      return import(pathToFileURL(find.resolve(name).replace(/\.cjs$/, ".js")).href)
  }
}

/** What Node lacks of a browser is put in place for as long as this process lives. */
export const nodeHost = (threads: number, webgpu: boolean): Host => {
  const { navigator } = globalThis as { navigator?: object }
  if (navigator !== undefined) Object.defineProperty(navigator, "hardwareConcurrency", { value: threads })
  let opened: Promise<GPU> | undefined
  return {
    where: "node",
    threads,
    webgpu,
    load: async (name) => {
      if (name === "@jax-js/jax" && !("Worker" in globalThis))
        Object.assign(globalThis, { Worker: WebWorker })
      return (await load(name, threads)) as never
    },
    files: (name) => fileURLToPath(new URL(`../node_modules/${name}`, import.meta.url)),
    gpu: () => {
      opened ??= openDawn().then((gpu) => {
        if (navigator !== undefined)
          Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true })
        return gpu
      })
      return opened
    }
  }
}
