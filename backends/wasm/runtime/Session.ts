import { UnsupportedByDevice } from "../../errors.ts"
import { detect, type Features } from "../features.ts"
import { memories, page } from "../limits.ts"
import { type Engine, engine, type Memory } from "./engine.ts"
import * as Heap from "./Heap.ts"
import * as Host from "./threads/Host.ts"
import * as Pool from "./threads/Pool.ts"

/** What all programs of one backend share: the memory, who owns which piece of it, and the threads. */
export interface Session {
  readonly engine: Engine
  readonly features: Features
  readonly memory: Memory
  /** Whether threads can see the memory. */
  readonly shared: boolean
  readonly heap: Heap.Heap
  readonly pool: Pool.Pool
  /** Work that is a piece of its own: a smaller kernel is run by the caller alone. */
  readonly leastWork: number
}

export interface Options {
  /** `false` leaves relaxed instructions out, whose results may differ in the last place from engine to engine. */
  readonly relaxed?: boolean
  /** `false` leaves all vector instructions out, as where the engine has none. */
  readonly simd?: boolean
  /** Threads that compute, the caller's among them: as many as run at the same time, but no more than 8, unless said otherwise. */
  readonly threads?: number
}

/** Threads that nobody asked for: more gain little, for they share caches and memory. */
const enough = 8

/** Programs address threads by few bits, and each needs memory. */
const mostThreads = 64

/** Throws `UnsupportedByDevice` where the host has no WebAssembly, or for a number of threads that is none. */
export const make = (options: Options = {}, leastWork: number = Pool.leastWork): Session => {
  const host = engine()
  if (host === undefined) {
    throw new UnsupportedByDevice({
      message: "this runtime has no WebAssembly",
      hint: "run on the reference"
    })
  }
  const { threads = 1 } = options
  if (!Number.isSafeInteger(threads) || threads < 1) {
    throw new UnsupportedByDevice({
      message: `the WebAssembly backend cannot run on ${threads} threads`,
      hint: "use a whole number of 1 or more, or leave it out: then there are as many as run at the same time"
    })
  }
  const found = detect(host)
  const simd = found.simd && (options.simd ?? true)
  const { memory, limit, shared, pool } = memoryOf(host, options.threads)
  const size = (): number => memory.buffer.byteLength
  const grow = (bytes: number): boolean => {
    // By half at least, so that growing costs a constant factor.
    const wanted = Math.min(limit, Math.max(bytes, Math.ceil(size() * 1.5)))
    for (const target of [wanted, bytes]) {
      try {
        memory.grow(Math.ceil((target - size()) / page))
        return true
      } catch {
        // The host has less: what is needed is asked for by itself.
      }
    }
    return false
  }
  return {
    engine: host,
    features: { simd, relaxed: simd && found.relaxed && (options.relaxed ?? true) },
    memory,
    shared,
    heap: Heap.make({ size, grow, limit }),
    pool,
    leastWork
  }
}

interface Found {
  readonly memory: Memory
  /** Bytes that it can grow to. */
  readonly limit: number
  readonly shared: boolean
  readonly pool: Pool.Pool
}

/** Memory that threads share, and the threads; memory of this thread where there are no others. */
const memoryOf = (engine: Engine, asked: number | undefined): Found => {
  const own = (reason: string | undefined): Found => ({
    ...largest(engine, false),
    shared: false,
    pool: Pool.alone(reason)
  })
  const wanted = asked === undefined ? undefined : Math.max(1, Math.min(mostThreads, Math.floor(asked)))
  if (wanted === 1) return own(undefined)
  const threads = Host.find()
  if (typeof threads === "string") return own(threads)
  const count = wanted ?? Math.min(threads.cores, enough)
  if (count === 1) return own("there is one core")
  try {
    const found = largest(engine, true)
    return { ...found, shared: true, pool: Pool.make(threads, found.memory, count) }
  } catch {
    return own("the host has no memory that threads share")
  }
}

/** The largest memory that the host has addresses for; it takes what is used of it. Throws what the host says of the smallest. */
const largest = (engine: Engine, shared: boolean): Pick<Found, "memory" | "limit"> => {
  const of = (limit: number) => ({
    memory: new engine.Memory({ initial: 16, maximum: limit / page, shared }),
    limit
  })
  try {
    return of(memories[0])
  } catch {
    return of(memories[1])
  }
}
