import type { KernelTime, Profile } from "./Profile.ts"

/** Times kernels that run one after the other, by the clock of the thread that starts them. */
export interface Stopwatch {
  /** All is ready for the first kernel. */
  readonly start: () => void
  /** A kernel is done. */
  readonly lap: (kernel: Omit<KernelTime, "begin" | "end">) => void
  readonly profile: () => Profile
}

/** Steps of clocks in nanoseconds: those that browsers round to, and a microsecond. */
const roundings = [1e6, 100_000, 20_000, 5_000, 1_000]

export const make = (clock: () => number = () => performance.now()): Stopwatch => {
  const now = (): number => Math.round(clock() * 1e6)
  const kernels: Array<KernelTime> = []
  const made = now()
  let began = made
  return {
    start: () => {
      began = now()
    },
    lap: (kernel) => {
      kernels.push({ ...kernel, begin: kernels.at(-1)?.end ?? 0, end: now() - began })
    },
    profile: () => ({
      clock: "thread",
      resolution: roundings.find((step) => kernels.every(({ end }) => end % step === 0)) ?? 1,
      kernels,
      host: { encode: began - made, wait: now() - began }
    })
  }
}
