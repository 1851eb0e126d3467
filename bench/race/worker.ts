/** The process of one contender in Node: `node bench/race/worker.ts peer threads webgpu|cpu`. Commands come over the channel to its parent. */

import { type PeerName, peers } from "../peers/index.ts"
import { type Command, contender } from "./contender.ts"
import { nodeHost } from "./nodeHost.ts"
import { settled } from "./settled.ts"

const [name, threads, device] = process.argv.slice(2) as [PeerName, string, "webgpu" | "cpu"]
const handle = contender(nodeHost(Number(threads), device === "webgpu"), peers[name].open)

process.on("message", async (command: Command) => {
  const answer = await handle(command)
  if (command.do === "prepare" && device === "webgpu") await settled()
  process.send?.(answer)
})
process.on("disconnect", () => process.exit())
