import type { Limits } from "./Limits.ts"
import { type Reason, tooManyThreads } from "./refusals.ts"

/** Why workgroups of a kernel of elements, or of rows, cannot have so many threads: all that its schedule says. undefined where they can. */
export const illegalThreads = (threads: number, limits: Limits): Reason =>
  threads < 1 || !Number.isInteger(Math.log2(threads))
    ? `${threads} threads are no power of two`
    : tooManyThreads(threads, limits)
