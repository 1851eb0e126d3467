import { DeviceLost } from "../../../errors.ts"
import type { CompiledModule, Memory, Run } from "../engine.ts"
import * as Crew from "./Crew.ts"
import type { Host } from "./Host.ts"
import { from, fromLarge, mostChunks, words as w } from "./words.ts"

/** A program that threads can run: its module, and its kernels on this thread. */
export interface Runnable {
  readonly module: CompiledModule
  readonly names: ReadonlyArray<string>
  readonly kernels: ReadonlyArray<Run>
}

/** One kernel over all of its items, cut into pieces. */
export interface Job {
  readonly kernel: number
  readonly items: number
  readonly chunks: number
  /** Items of each of the first chunks, one for each thread; 0 where all chunks are alike. */
  readonly large: number
}

/** Kernels one after the other. */
export interface Chain {
  readonly jobs: ReadonlyArray<Job>
  /** Address of the words of the first job's first thread; those of the next thread, then of the next job, follow each so many bytes further. */
  readonly args: number
  readonly stride: number
  /** Called when a job is. */
  readonly done?: (job: number) => void
}

/** Asks a run to stop; a run gives way to others where it yields, and then looks here. */
export interface Signal {
  cancelled: boolean
}

/** A run was told to stop: all threads have left its memory. */
export class Cancelled extends Error {}

/** A kernel trapped, that of the job: no thread is at work any more. */
export class Trapped extends Error {
  readonly job: number
  constructor(job: number, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.job = job
  }
}

/** Threads that run one program at a time. */
export interface Team {
  /** This thread among them. */
  readonly threads: number
  /** Runs the kernels. However it ends, no thread is at work any more. */
  readonly run: (chain: Chain, signal: Signal) => Generator<void, void>
  readonly leave: () => void
}

export interface Pool {
  /** Threads that a call may use, this one among them. */
  readonly threads: () => number
  /** Why it is one only; undefined where it was asked for. */
  readonly alone: () => string | undefined
  /**
   * Threads for a call of so much work; this one alone while another call has the others, and for the first call unless it is long: there
   * it would be over before they are there.
   */
  readonly take: (program: Runnable, work: number) => Team
  /** Ends all threads. */
  readonly close: () => void
}

/** Work after which the event loop should have a turn, and threads have had time to start: some thirty milliseconds. */
export const mostWork = 2 ** 29

/** This thread works so long, in milliseconds, before it lets others of the event loop have a turn. */
const turn = 40

const clock = (): (() => boolean) => {
  let since = performance.now()
  return () => {
    const now = performance.now()
    if (now - since < turn) return false
    since = now
    return true
  }
}

/** This thread by itself. */
export const solo = ({ kernels }: Runnable): Team => {
  const late = clock()
  return {
    threads: 1,
    run: function* ({ jobs, args, stride, done }, signal) {
      for (let n = 0; n < jobs.length; n++) {
        const { kernel, items, chunks } = jobs[n] as Job
        for (let at = 0; at < chunks; at++) {
          if (late()) {
            yield
            if (signal.cancelled) throw new Cancelled()
          }
          piece(
            kernels[kernel] as Run,
            n,
            args + n * stride,
            from(items, chunks, at),
            from(items, chunks, at + 1)
          )
        }
        done?.(n)
      }
    },
    leave: () => {}
  }
}

/** Some items of a job, on this thread. */
const piece = (kernel: Run, job: number, args: number, begin: number, end: number): void => {
  try {
    kernel(args, begin, end)
  } catch (cause) {
    throw new Trapped(job, cause)
  }
}

/** Up to so many threads of a host over a shared memory, started when calls ask for them. */
export const make = (host: Host, memory: Memory, threads: number): Pool => {
  let crew: Crew.Crew | undefined
  let busy = false
  let refused: string | undefined
  let asked = false
  let closed = false

  /** The threads, started where there are none or some have ended; undefined where the host refuses. */
  const ready = (): Crew.Crew | undefined => {
    if (crew?.lost() !== undefined) {
      if (!crew.started()) refused ??= crew.lost()
      crew.end()
      crew = undefined
    }
    if (refused !== undefined) return undefined
    try {
      crew ??= Crew.start(host, memory, threads - 1)
    } catch (cause) {
      refused = cause instanceof Error ? cause.message : String(cause)
    }
    return crew
  }

  const take = (program: Runnable, work: number): Team => {
    const early = !asked && work < mostWork
    asked = true
    const found = busy || early ? undefined : ready()
    if (found === undefined) return solo(program)
    busy = true
    found.load(program)
    found.enter()
    const late = clock()
    return {
      threads,
      leave: () => {
        busy = false
        found.leave()
      },
      run: function* ({ jobs, args, stride, done }, signal) {
        for (let n = 0; n < jobs.length; n++) {
          const job = jobs[n] as Job
          const { items, chunks, large } = job
          const kernel = program.kernels[job.kernel] as Run
          const own = args + n * threads * stride
          // Not worth telling anybody.
          if (chunks === 1) {
            if (late()) {
              yield
              if (signal.cancelled) throw new Cancelled()
            }
            piece(kernel, n, own, 0, items)
            done?.(n)
            continue
          }
          let failure: unknown
          found.publish(program, job, own, stride)
          const begin = (at: number): number =>
            large === 0 ? from(items, chunks, at) : fromLarge(items, chunks, large, threads, at)
          for (let left = found.claim(); left >= 0; left = found.claim()) {
            const at = large === 0 ? left : chunks - 1 - left
            try {
              kernel(own, begin(at), begin(at + 1))
            } catch (cause) {
              failure ??= cause
              found.withdraw()
            }
            Atomics.add(found.words, w.done, 1)
            if (late()) {
              yield
              // Chunks that a thread which is gone had not taken are left to the others.
              if (signal.cancelled) found.withdraw()
            }
          }
          while (!found.rest(chunks)) {
            yield
            if (found.lost() === undefined) continue
            // What a thread that is gone had taken nobody finishes. When all are gone nobody writes any more.
            found.end()
            while (found.alive() > 0) yield
            throw gone(found.lost() as string, program.names[job.kernel])
          }
          if (signal.cancelled) throw new Cancelled()
          const trapped = failure ?? found.trap()
          if (trapped !== undefined) throw new Trapped(n, trapped)
          done?.(n)
        }
      }
    }
  }

  const gone = (why: string, kernel: string | undefined): DeviceLost =>
    closed
      ? new DeviceLost({
          message: `the WebAssembly backend was closed while the kernel ${kernel} ran on its threads`,
          hint: "keep the layer's scope, or the engine, open until its calls have ended"
        })
      : new DeviceLost({
          message: `a thread of the WebAssembly backend ended while the kernel ${kernel} ran: ${why}`,
          hint: "call again, with new arrays for those that were donated: the next call starts new threads. One thread needs no others: Wasm.layerWith({ threads: 1 })"
        })

  return {
    threads: () => (refused === undefined ? threads : 1),
    alone: () => refused,
    take,
    close: () => {
      closed = true
      crew?.end()
      refused = "the backend is closed"
    }
  }
}

/** No threads but this one. */
export const alone = (reason: string | undefined): Pool => ({
  threads: () => 1,
  alone: () => reason,
  take: solo,
  close: () => {}
})

/** Work, in the unit of `work.ts`, below which a piece is not worth handing out: some five microseconds. */
export const leastWork = 2 ** 17

/** Pieces of that work below which a call is not worth waking threads for. */
export const leastCall = 4

/**
 * Pieces of a kernel: one if it is too small for two threads, else more than there are threads, so that who is done early, or has rows that
 * see few keys, takes another. Pieces of several items are as many for each thread, so that none waits for one more.
 */
export const chunksOf = (work: number, items: number, threads: number, least: number): number => {
  const wanted = Math.max(16 * threads, Math.ceil(work / mostWork))
  const chunks = Math.max(1, Math.min(items, Math.floor(work / least), wanted, mostChunks))
  return chunks === items || chunks < threads ? chunks : chunks - (chunks % threads)
}

/** Of what threads read as streams, so much is in large pieces. */
const inLarge = 0.75

/** Chunks of a kernel whose neighbouring items lie side by side, of which the first are large; as `chunksOf` says where that would be none, or too long. */
export const streamsOf = (
  work: number,
  items: number,
  threads: number,
  least: number
): Pick<Job, "chunks" | "large"> => {
  const chunks = chunksOf(work, items, threads, least)
  const large = Math.floor((inLarge * items) / threads)
  if (chunks < 2 * threads || large < 2 || work > threads * mostWork) return { chunks, large: 0 }
  return { chunks: threads + Math.min(items - threads * large, 4 * threads), large }
}
