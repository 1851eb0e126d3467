import type { Limits } from "./Limits.ts"

/** Why a schedule is refused, in words that all kinds of schedules share; undefined where it is not. */
export type Reason = string | undefined

export const among = (n: number, list: ReadonlyArray<number>, what: string): Reason =>
  list.includes(n) ? undefined : `${n} ${what} are none of ${list.join(", ")}`

export const tooManyThreads = (threads: number, limits: Limits): Reason =>
  threads > limits.maxComputeInvocationsPerWorkgroup
    ? `${threads} threads exceed ${limits.maxComputeInvocationsPerWorkgroup}`
    : undefined

export const tooManyBytes = (bytes: number, limits: Limits): Reason =>
  bytes > limits.maxComputeWorkgroupStorageSize
    ? `${bytes} bytes of workgroup memory exceed ${limits.maxComputeWorkgroupStorageSize}`
    : undefined
