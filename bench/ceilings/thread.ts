/** A thread that runs one loop for as long as it is told, and says how much of its work a millisecond has. */
import { parentPort } from "node:worker_threads"
import { inRegisters, type Loop, reading, tile } from "./wasm.ts"

export type Told =
  | { readonly do: "registers" }
  | { readonly do: "tile" }
  | { readonly do: "read"; readonly bytes: number }
  | { readonly do: "run"; readonly milliseconds: number }

const loopOf = (told: Exclude<Told, { do: "run" }>): Promise<Loop> => {
  switch (told.do) {
    case "registers":
      return inRegisters()
    case "tile":
      return tile()
    case "read":
      return reading(told.bytes)
  }
}

let loop: Loop | undefined

parentPort?.on("message", async (told: Told) => {
  if (told.do !== "run") {
    loop = await loopOf(told)
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
