import type { Profile } from "../backends/Profile.ts"

export type { KernelTime, Profile } from "../backends/Profile.ts"

/** What a kernel takes on average, over all profiles and wherever in the program it runs. Nanoseconds. */
export interface KernelShare {
  readonly name: string
  /** Number of the kernel in the program. */
  readonly kernel: number
  /** Dispatches of one call. */
  readonly dispatches: number
  /** Of all its dispatches in one call. */
  readonly time: number
  /** Of the time of all kernels: 0 to 1. */
  readonly share: number
}

/**
 * What each kernel takes in a call on average, the longest first. The mean of many profiles is finer than the clock: rounding
 * cuts as much from the begin of a kernel as from its end.
 */
export const byKernel = (profiles: ReadonlyArray<Profile>): ReadonlyArray<KernelShare> => {
  const sums = new Map<number, { readonly name: string; dispatches: number; time: number }>()
  for (const { name, kernel, begin, end } of profiles.flatMap((p) => p.kernels)) {
    const sum = sums.get(kernel) ?? { name, dispatches: 0, time: 0 }
    sums.set(kernel, sum)
    sum.dispatches++
    sum.time += end - begin
  }
  const all = [...sums.values()].reduce((total, { time }) => total + time, 0)
  return [...sums]
    .map(([kernel, { name, dispatches, time }]) => ({
      name,
      kernel,
      dispatches: dispatches / profiles.length,
      time: time / profiles.length,
      share: all === 0 ? 0 : time / all
    }))
    .sort((a, b) => b.time - a.time || a.kernel - b.kernel)
}

/** What of the clock somebody who reads the times must know, as a sentence; undefined where they are fine. */
export const caveat = ({ clock, resolution }: Profile): string | undefined => {
  if (clock === "host") {
    return "this device has no timestamps: these are the times at which the host heard that each kernel was done, about a millisecond late"
  }
  return resolution > 1
    ? `this ${clock} rounds its times to ${resolution / 1000} µs: a kernel that is shorter shows as 0 or as that; only means of many calls tell`
    : undefined
}

/**
 * The calls one after the other as a trace file (JSON of the Trace Event Format), which Chromium's performance panel, Firefox'
 * profiler and Perfetto open: what the host did in one row, kernels in another.
 */
export const trace = (profiles: ReadonlyArray<Profile>, label = "effuse"): string => {
  const [host, device] = [1, 2]
  const meta = (name: string, tid: number, value: string) => ({
    ...{ ph: "M", pid: 1, tid, cat: "__metadata", name, ts: 0 },
    args: { name: value }
  })
  const events: Array<unknown> = [
    meta("process_name", host, label),
    meta("thread_name", host, "host"),
    meta("thread_name", device, "kernels")
  ]
  // Nanoseconds into the microseconds of the format, in steps of 1/1024: their sums are exact, so that no event seems to end inside the next.
  const microseconds = (nanoseconds: number): number => Math.round(nanoseconds * 1.024) / 1024
  const span = (tid: number, name: string, from: number, to: number, args: object) => {
    const ts = microseconds(from)
    events.push({ ph: "X", pid: 1, tid, cat: label, name, ts, dur: microseconds(to) - ts, args })
  }
  // What begins at 0 is no part of the trace for Chromium's tools.
  let start = 1000
  for (const [i, profile] of profiles.entries()) {
    const { kernels, clock, resolution } = profile
    const submitted = start + profile.host.encode
    const last = kernels.reduce((most, { end }) => Math.max(most, end), 0)
    const done = submitted + Math.max(profile.host.wait, last)
    span(host, "encode", start, submitted, { call: i })
    span(host, "wait", submitted, done, { call: i })
    for (const { name, kernel, workgroups, begin, end } of kernels) {
      span(device, name, submitted + begin, submitted + end, {
        call: i,
        kernel,
        workgroups,
        clock,
        resolution
      })
    }
    start = done
  }
  return JSON.stringify({ traceEvents: events, displayTimeUnit: "ns" })
}
