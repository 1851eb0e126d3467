/** One contender in a browser page: `handle` takes the commands that `worker.ts` takes from its parent. */

import { type PeerName, peers } from "../peers/index.ts"
import type { Host } from "../peers/Peer.ts"
import { type Answer, type Command, contender } from "./contender.ts"

/** Of the engine, what `pageWorker.ts` was started with. */
export interface Place {
  readonly threads: number
  readonly webgpu: boolean
}

interface Module {
  readonly start?: (threads: number) => Promise<boolean>
}

const hostOf = ({ threads, webgpu }: Place): Host => {
  // What engines take for the number of their threads.
  Object.defineProperty(navigator, "hardwareConcurrency", { value: threads })
  return {
    ...{ where: "browser", threads, webgpu },
    // The server of the race makes engines as they are asked for: no bundler has a file for them.
    load: async (name) => {
      const module: Module = await import(/* @vite-ignore */ `/engine.js?${name}`)
      const { start } = module
      return (start === undefined ? module : { ...module, start: () => start(threads) }) as never
    },
    files: (name) => `/node_modules/${name}`,
    gpu: async () => navigator.gpu
  }
}

let own: ((command: Command) => Promise<Answer>) | undefined

/** Numbers as text: pages give JSON. */
const written = (data: Float32Array): string => {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  let text = ""
  for (let at = 0; at < bytes.length; at += 8192)
    text += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return btoa(text)
}

export const handle = async ([peer, place, command]: readonly [
  PeerName,
  Place,
  Command
]): Promise<unknown> => {
  own ??= contender(hostOf(place), peers[peer].open)
  const answer = await own(command)
  return answer.ok && answer.value instanceof Float32Array
    ? { ...answer, value: { base64: written(answer.value) } }
    : answer
}
