import { mkdirSync, writeFileSync } from "node:fs"
import os from "node:os"
import { fileURLToPath } from "node:url"

const folder = fileURLToPath(new URL("../node_modules/.cache/effuse-bench/", import.meta.url))

/** What the script of a thread takes from the module around it. */
const names = `const [require$$0, require$$1, require$$3, require$$4] = ["fs", "path", "perf_hooks", "os"].map(require)
var commonjsGlobal = globalThis, __filename = location.href, __dirname = require("path").dirname(__filename);
`

/**
 * TensorFlow.js starts threads in browsers only: from blobs, which Node's workers do not take. While `run` starts them, blobs with scripts
 * are files, and so is what a thread makes of the blob it is sent. It takes half of the processors there are at most, so there are twice as many.
 */
export const withThreads = async <A>(threads: number, run: () => Promise<A>): Promise<A> => {
  const { cpus } = os
  os.cpus = () => Array.from({ length: 2 * threads }, () => cpus()[0] as os.CpuInfo)
  const { Blob: Stock } = globalThis
  const { createObjectURL } = URL
  mkdirSync(folder, { recursive: true })
  const [main, worker] = [`${folder}main.js`, `${folder}worker.cjs`]
  const texts = new WeakMap<object, string>()
  globalThis.Blob = class extends Stock {
    constructor(parts: ReadonlyArray<string>, options?: { readonly type?: string }) {
      super([...parts], options as never)
      texts.set(this, parts.join(""))
      if (options?.type === "text/javascript") writeFileSync(main, names + parts.join(""))
    }
  } as never
  URL.createObjectURL = (blob) => {
    const prelude = `URL.createObjectURL = () => ${JSON.stringify(main)}; URL.revokeObjectURL = () => {};`
    writeFileSync(worker, `${prelude}\n${(texts.get(blob) ?? "").replaceAll("\\\\n", "\\n")}`)
    return worker
  }
  try {
    return await run()
  } finally {
    os.cpus = cpus
    globalThis.Blob = Stock
    URL.createObjectURL = createObjectURL
  }
}
