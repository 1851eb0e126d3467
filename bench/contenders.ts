/** Who takes part in a run, each with a process that waits to be asked. */
import type { Options } from "./options.ts"
import { type Peer, peers } from "./peers/index.ts"
import { child } from "./race/child.ts"
import type { Contender } from "./race/turns.ts"

const onProcessor = ({ threads, peers: names, browser }: Options): ReadonlyArray<Contender> =>
  names.flatMap((peer): ReadonlyArray<Contender> => {
    const own: Peer = peers[peer]
    if (own.cpu === undefined || (browser && own.cpu === "native")) return []
    const script = browser ? "./pageWorker.ts" : "./worker.ts"
    return threads.map((count) => ({
      ...{ label: `${peer} ${count}t`, peer, threads: count },
      child: child(script, [peer, String(count), "cpu"]),
      skips: own.skips === true
    }))
  })

const onGpu = ({ browser, peers: names }: Options): ReadonlyArray<Contender> =>
  names.flatMap((peer): ReadonlyArray<Contender> => {
    const own: Peer = peers[peer]
    if (own.webgpu === undefined || (browser && own.webgpu === "node")) return []
    const inPage = browser || own.webgpu === "browser"
    const label = inPage && !browser ? `${peer}, Chromium` : peer
    const run = child(inPage ? "./pageWorker.ts" : "./worker.ts", [peer, "1", "webgpu"])
    return [{ label, peer, threads: undefined, child: run, skips: own.skips === true }]
  })

export const contendersOf = (options: Options): ReadonlyArray<Contender> =>
  options.mode === "cpu" ? onProcessor(options) : onGpu(options)

/** Those that have the model that generates. */
export const generating = (options: Options): ReadonlyArray<Contender> => {
  const names = options.peers.filter((peer) => peer !== "plain" && peer !== "tfjs")
  const most = Math.max(...options.threads)
  const gpu = onGpu({ ...options, peers: names }).map((own) => ({ ...own, label: `${own.label}, WebGPU` }))
  return [...onProcessor({ ...options, peers: names, threads: [most] }), ...gpu]
}
