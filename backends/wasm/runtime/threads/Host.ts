/** Another thread of this process or page. */
export interface Thread {
  readonly post: (message: unknown) => void
  readonly end: () => void
}

/** Where threads come from. */
export interface Host {
  /** Threads that run at the same time. */
  readonly cores: number
  /** Starts a script. `ended` is called once, when the thread is gone, with what is known of why. May throw. */
  readonly start: (script: string, ended: (why: string) => void) => Thread
}

/** The host's threads, or why there are none. */
export const find = (): Host | string => {
  if (typeof SharedArrayBuffer === "undefined" || typeof Atomics === "undefined")
    return inPage() ? "the page is not cross-origin isolated" : "this runtime has no shared memory"
  const node = ofNode()
  if (node !== undefined) return node
  const web = globalThis as unknown as Web
  if (web.crossOriginIsolated === false) return "the page is not cross-origin isolated"
  if (web.Worker === undefined) return "this runtime has no workers"
  return ofWeb(web)
}

const inPage = (): boolean => (globalThis as unknown as Web).crossOriginIsolated === false

interface NodeWorker {
  readonly postMessage: (message: unknown) => void
  readonly terminate: () => void
  readonly unref: () => void
  readonly on: (event: "error" | "exit", listener: (what: unknown) => void) => void
}

interface NodeModules {
  readonly "node:worker_threads": {
    readonly Worker: new (script: string, options: object) => NodeWorker
  }
  readonly "node:os": { readonly availableParallelism: () => number }
}

/** Asked for by a call and not by an import: bundles for browsers never see the names. */
const ofNode = (): Host | undefined => {
  const { process } = globalThis as unknown as {
    readonly process?: {
      readonly versions?: { readonly node?: string }
      readonly getBuiltinModule?: <K extends keyof NodeModules>(name: K) => NodeModules[K]
    }
  }
  if (process?.versions?.node === undefined) return undefined
  const { getBuiltinModule } = process
  if (getBuiltinModule === undefined) return undefined
  const cores =
    (globalThis as unknown as Web).navigator?.hardwareConcurrency ??
    getBuiltinModule("node:os").availableParallelism()
  return {
    cores,
    start: (script, ended) => {
      const threads = getBuiltinModule("node:worker_threads")
      // Neither the flags nor the environment of the process: what they preload is not for this thread.
      const worker = new threads.Worker(script, { eval: true, execArgv: [], env: {}, name: "effuse" })
      let why: string | undefined
      worker.on("error", (error) => {
        why = error instanceof Error ? error.message : String(error)
      })
      worker.on("exit", (code) => ended(why ?? `it was terminated, with exit code ${code}`))
      worker.unref()
      return { post: (message) => worker.postMessage(message), end: () => void worker.terminate() }
    }
  }
}

/** Names of browsers and of Deno. */
interface Web {
  readonly crossOriginIsolated?: boolean
  readonly navigator?: { readonly hardwareConcurrency?: number }
  readonly Worker?: new (url: string, options: object) => WebWorker
}

interface WebWorker {
  readonly postMessage: (message: unknown) => void
  readonly terminate: () => void
  onerror: ((event: { readonly message?: string; readonly preventDefault: () => void }) => void) | null
}

const ofWeb = (web: Web): Host => ({
  cores: web.navigator?.hardwareConcurrency ?? 1,
  start: (script, ended) => {
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }))
    const worker = new (web.Worker as NonNullable<Web["Worker"]>)(url, { name: "effuse" })
    let here = true
    const gone = (why: string): void => {
      if (!here) return
      here = false
      URL.revokeObjectURL(url)
      ended(why)
    }
    worker.onerror = (event) => {
      event.preventDefault()
      worker.terminate()
      gone(event.message || "the page's policy refused its script")
    }
    return {
      post: (message) => worker.postMessage(message),
      // Pages are not told when a thread is gone: it stops where it is.
      end: () => {
        worker.terminate()
        gone("it was ended")
      }
    }
  }
})
