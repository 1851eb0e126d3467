/** What several threads of WebAssembly do together at best. */
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import type { Told } from "./thread.ts"

export interface ThreadCeilings {
  /** Multiplications and additions a second, in registers, in billions. */
  readonly flops: number
  /** The same of tiles whose operands are in the nearest cache. */
  readonly tile: number
  /** Bytes read a second, in billions, of a memory that they share equally, by name. */
  readonly reads: { readonly [name: string]: number }
}

const turns = 5

const told = async (threads: ReadonlyArray<Worker>, what: Told): Promise<number> => {
  const answers = threads.map(async (thread): Promise<number> => (await once(thread, "message"))[0])
  for (const thread of threads) thread.postMessage(what)
  return (await Promise.all(answers)).reduce((sum, each) => sum + each, 0)
}

/** The most of several turns: others on the machine only make it less. */
const most = async (threads: ReadonlyArray<Worker>): Promise<number> => {
  let best = 0
  for (let n = 0; n < turns; n++) best = Math.max(best, await told(threads, { do: "run", milliseconds: 60 }))
  return best / 1e6
}

/** `sizes` are the bytes of each memory. */
export const threadCeilings = async (
  count: number,
  sizes: { readonly [name: string]: number }
): Promise<ThreadCeilings> => {
  const threads = Array.from({ length: count }, () => new Worker(new URL("./thread.ts", import.meta.url)))
  try {
    await told(threads, { do: "registers" })
    const flops = await most(threads)
    await told(threads, { do: "tile" })
    const tile = await most(threads)
    const reads: { [name: string]: number } = {}
    for (const [name, bytes] of Object.entries(sizes)) {
      await told(threads, { do: "read", bytes: Math.ceil(bytes / count / 128) * 128 })
      reads[name] = await most(threads)
    }
    return { flops, tile, reads }
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()))
  }
}
