/** A thread that runs one loop for as long as it is told, and says how much of its work a millisecond has. */
import { parentPort } from "node:worker_threads"
import { type Loop, reading, tile } from "./wasm.ts"

export type Told =
  | { readonly do: "tile" }
  | { readonly do: "read"; readonly bytes: number }
  | { readonly do: "run"; readonly milliseconds: number }

let loop: Loop | undefined

parentPort?.on("message", async (told: Told) => {
  if (told.do !== "run") {
    loop = await (told.do === "tile" ? tile() : reading(told.bytes))
    loop.run()
    parentPort?.postMessage(0)
    return
  }
  const { run, work } = loop as Loop
  const start = performance.now()
  let done = 0
  do {
    run()
    done += work
  } while (performance.now() - start < told.milliseconds)
  parentPort?.postMessage(done / (performance.now() - start))
})
