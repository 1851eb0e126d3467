import type { Memory } from "../engine.ts"
import type { Host, Thread } from "./Host.ts"
import type { Job, Runnable } from "./Pool.ts"
import { claimOf, type Mail, type Start, source } from "./source.ts"
import { mostChunks, words as w, wordCount } from "./words.ts"

/** Threads that wait for jobs, and the words by which they are told. */
export interface Crew {
  readonly words: Int32Array
  /** Makes a program known to the threads. */
  readonly load: (program: Runnable) => void
  /** A call begins: threads wake, and do not sleep between its kernels. */
  readonly enter: () => void
  readonly leave: () => void
  readonly publish: (program: Runnable, job: Job, args: number, stride: number) => void
  /** Takes a chunk for this thread: how many are left after it, -1 where none was. */
  readonly claim: () => number
  /** Takes all chunks that are left, to drop them. */
  readonly withdraw: () => void
  /** Waits a while for so many chunks to be done; whether they are. */
  readonly rest: (chunks: number) => boolean
  /** What a kernel threw on another thread. */
  readonly trap: () => Error | undefined
  /** Why a thread has ended; undefined while all are there. */
  readonly lost: () => string | undefined
  /** Whether all threads once were there. */
  readonly started: () => boolean
  readonly alive: () => number
  readonly end: () => void
}

/** Programs that threads remember: the one sent first is forgotten first. */
const mostPrograms = 64

/** Jobs are told apart by so many bits; no thread sleeps through as many of them between two instructions. */
const jobs = 2 ** 21

export const start = (host: Host, memory: Memory, others: number): Crew => {
  const shared = new SharedArrayBuffer(4 * wordCount)
  const words = new Int32Array(shared)
  let job = 0
  let alive = 0
  let lost: string | undefined
  const threads: Array<Thread> = []
  const end = (): void => {
    for (const thread of threads) thread.end()
  }
  try {
    for (let n = 0; n < others; n++) {
      const thread = host.start(source, (why) => {
        alive--
        lost ??= why
      })
      alive++
      threads.push(thread)
    }
  } catch (cause) {
    end()
    throw cause
  }

  const open = (chunks: number): void => {
    job = (job + 1) % jobs
    Atomics.store(words, w.claim, claimOf(job, chunks))
    // Once for all that sleep: one that is waking is not woken again. One that is about to sleep sees the new claim.
    if (Atomics.exchange(words, w.asleep, 0) > 0) Atomics.notify(words, w.claim)
  }

  const send = (messageOf: (thread: number) => Start | Mail): void => {
    // Counted before it is there: a thread that has it at once would look for more, and never serve.
    Atomics.add(words, w.mail, 1)
    for (const [n, thread] of threads.entries()) thread.post(messageOf(n + 1))
    // Those that sleep are woken by a job of nothing.
    open(0)
  }

  const known = new Map<Runnable, number>()
  let programs = 0
  const load = (program: Runnable): void => {
    if (known.has(program)) return
    const [oldest] = known
    if (oldest !== undefined && known.size === mostPrograms) {
      known.delete(oldest[0])
      send(() => ({ program: oldest[1] }))
    }
    const { module, names } = program
    const number = programs++
    known.set(program, number)
    send(() => ({ program: number, module, names }))
  }

  send((thread) => ({ words: shared, memory, thread }))

  return {
    words,
    load,
    enter: () => {
      Atomics.store(words, w.called, 1)
      open(0)
    },
    leave: () => Atomics.store(words, w.called, 0),
    publish: (program, { kernel, items, chunks, large }, args, stride) => {
      words[w.program] = known.get(program) as number
      words[w.kernel] = kernel
      words[w.args] = args
      words[w.stride] = stride
      words[w.items] = items
      words[w.chunks] = chunks
      words[w.large] = large
      words[w.threads] = others + 1
      words[w.failed] = 0
      words[w.done] = 0
      open(chunks)
    },
    claim: () => {
      for (;;) {
        const claim = Atomics.load(words, w.claim)
        const left = claim & mostChunks
        if (left === 0) return -1
        if (Atomics.compareExchange(words, w.claim, claim, claim - 1) === claim) return left - 1
      }
    },
    withdraw: () => {
      const left = Atomics.exchange(words, w.claim, claimOf(job, 0)) & mostChunks
      Atomics.add(words, w.done, left)
    },
    rest: (chunks) => rest(words, chunks),
    trap: () => {
      const length = Atomics.load(words, w.failed)
      if (length === 0) return undefined
      return new Error(String.fromCharCode(...words.subarray(w.text, w.text + length)))
    },
    lost: () => lost,
    started: () => Atomics.load(words, w.ready) === others,
    alive: () => alive,
    end
  }
}

/** Looks before this thread sleeps, where it may: threads that have a core finish their chunks at about the same time. */
const spins = 4000

/** Milliseconds of sleep, or where a page may not sleep of looking, before the event loop has a turn. */
const patience = { asleep: 5, awake: 2 } as const

const pause = (Atomics as { readonly pause?: () => void }).pause ?? (() => {})

const rest = (words: Int32Array, chunks: number): boolean => {
  for (let n = 0; n < spins; n++) {
    if (Atomics.load(words, w.done) === chunks) return true
    pause()
  }
  const until = performance.now() + (mayWait() ? patience.asleep : patience.awake)
  for (;;) {
    const done = Atomics.load(words, w.done)
    if (done === chunks) return true
    const left = until - performance.now()
    if (left <= 0) return false
    if (mayWait()) Atomics.wait(words as never, w.done, done, left)
    else pause()
  }
}

let waits: boolean | undefined

/** Whether this thread may sleep: the main thread of a page may not. */
const mayWait = (): boolean => {
  if (waits === undefined) {
    try {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0)
      waits = true
    } catch {
      waits = false
    }
  }
  return waits
}
