import { bytesOf, type Case, flopsOf } from "../cases/cases.ts"

/** What bounds a case: billions a second, of what was measured. */
export interface Rates {
  /** Multiplications and additions, in registers. */
  readonly flops: number
  /** Bytes, from the memory that holds the arguments. */
  readonly bytes?: number | undefined
  /** Floats loaded by a kernel; each word counts once: whoever keeps less in registers loads more. */
  readonly loads?: number | undefined
}

export interface Limit {
  readonly milliseconds: number
  readonly of: "arithmetic" | "memory" | "loads" | "dispatch"
}

/** The longest of what a case takes at each rate, and of what its dispatches take that do nothing, in milliseconds. */
export const limitOf = (c: Case, { flops, bytes = Infinity, loads = Infinity }: Rates, idle = 0): Limit => {
  const limits: ReadonlyArray<Limit> = [
    { milliseconds: flopsOf(c) / flops / 1e6, of: "arithmetic" },
    { milliseconds: bytesOf(c) / bytes / 1e6, of: "memory" },
    { milliseconds: bytesOf(c) / 4 / loads / 1e6, of: "loads" },
    { milliseconds: idle, of: "dispatch" }
  ]
  return limits.reduce((a, b) => (b.milliseconds > a.milliseconds ? b : a))
}

/** Milliseconds below which so many threads, or the device, cannot be; undefined where nothing was measured. */
export type LimitsOf = (c: Case, threads: number | undefined) => number | undefined

export const unknown: LimitsOf = () => undefined
