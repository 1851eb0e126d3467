/** The process of one contender in Node: `node bench/race/worker.ts peer threads webgpu|cpu`. Commands come over the channel to its parent. */

import { type PeerName, peers } from "../peers/index.ts"
import { type Command, contender } from "./contender.ts"
import { nodeHost } from "./nodeHost.ts"

const [name, threads, device] = process.argv.slice(2) as [PeerName, string, "webgpu" | "cpu"]
const handle = contender(nodeHost(Number(threads), device === "webgpu"), peers[name].open)

/** Waits until a software device compiles nothing more in the background, three seconds at most: a process is stopped while others have their turn. */
const settled = async (): Promise<void> => {
  for (let n = 0; n < 15; n++) {
    const before = process.cpuUsage()
    await new Promise((done) => setTimeout(done, 200))
    const { user, system } = process.cpuUsage(before)
    if (user + system < 40_000) return
  }
}

process.on("message", async (command: Command) => {
  const answer = await handle(command)
  if (command.do === "prepare" && device === "webgpu") await settled()
  process.send?.(answer)
})
process.on("disconnect", () => process.exit())
