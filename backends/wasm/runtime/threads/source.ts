import { chunkBits, mostChunks, mostText, words as w } from "./words.ts"

/**
 * Looks at the claim word before a thread sleeps. During a call it is far longer than the caller needs from kernel to kernel: to wake a thread takes
 * as long as a small kernel. Between calls it is some microseconds.
 */
const spins = { called: 20_000, idle: 2000 } as const

/** What the first message to a thread says. */
export interface Start {
  readonly words: SharedArrayBuffer
  readonly memory: unknown
  /** From 1: the caller is 0. */
  readonly thread: number
}

/** A program that is to be called, or not any more. */
export type Mail =
  | { readonly program: number; readonly module: unknown; readonly names: ReadonlyArray<string> }
  | { readonly program: number; readonly module?: undefined }

/**
 * The script of a thread, for Node and for browsers. It is text, so that no bundler has to know of a second file and no compiler
 * puts names of its own into it.
 */
export const source = `"use strict"
const port = typeof postMessage === "function" ? globalThis : require("node:worker_threads").parentPort
const pause = Atomics.pause ? () => Atomics.pause() : () => {}
const programs = new Map()
let words, memory, thread, seen = 0

const tell = (error) => {
  const text = String(error && error.message || error).slice(0, ${mostText}) || "?"
  if (Atomics.compareExchange(words, ${w.failed}, 0, text.length) !== 0) return
  for (let i = 0; i < text.length; i++) words[${w.text} + i] = text.charCodeAt(i)
}

const serve = () => {
  for (let idle = 0; ; ) {
    const claim = Atomics.load(words, ${w.claim})
    if (Atomics.load(words, ${w.mail}) !== seen) return
    const left = claim & ${mostChunks}
    if (left === 0) {
      if (idle++ < (Atomics.load(words, ${w.called}) ? ${spins.called} : ${spins.idle})) pause()
      else {
        Atomics.add(words, ${w.asleep}, 1)
        Atomics.wait(words, ${w.claim}, claim)
        idle = 0
      }
      continue
    }
    idle = 0
    if (Atomics.compareExchange(words, ${w.claim}, claim, claim - 1) !== claim) continue
    const items = words[${w.items}], chunks = words[${w.chunks}]
    const large = words[${w.large}], all = words[${w.threads}], at = large > 0 ? chunks - left : left - 1
    const from = (n) => large === 0 ? Math.floor(items * n / chunks)
      : n <= all ? n * large
      : all * large + Math.floor((items - all * large) * (n - all) / (chunks - all))
    try {
      const kernel = programs.get(words[${w.program}])[words[${w.kernel}]]
      kernel(words[${w.args}] + thread * words[${w.stride}], from(at), from(at + 1))
    } catch (error) {
      tell(error)
    }
    if (Atomics.add(words, ${w.done}, 1) + 1 === chunks) Atomics.notify(words, ${w.done})
  }
}

port.onmessage = ({ data }) => {
  if (data.words) {
    words = new Int32Array(data.words)
    memory = data.memory
    thread = data.thread
    Atomics.add(words, ${w.ready}, 1)
  } else if (data.module) {
    const { exports } = new WebAssembly.Instance(data.module, { env: { memory }, Math })
    programs.set(data.program, data.names.map((name) => exports[name]))
  } else programs.delete(data.program)
  seen++
  if (seen === Atomics.load(words, ${w.mail})) serve()
}
`

/** The claim word of a job. */
export const claimOf = (job: number, chunks: number): number => (job << chunkBits) | chunks
