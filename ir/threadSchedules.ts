import type { Limits } from "./Limits.ts"

/** Why workgroups of a kernel of elements, or of rows, cannot have so many threads: all that its schedule says. undefined where they can. */
export const illegalThreads = (threads: number, limits: Limits): string | undefined => {
  if (threads < 1 || !Number.isInteger(Math.log2(threads))) return `${threads} threads are no power of two`
  return threads > limits.maxComputeInvocationsPerWorkgroup
    ? `${threads} threads exceed ${limits.maxComputeInvocationsPerWorkgroup}`
    : undefined
}
