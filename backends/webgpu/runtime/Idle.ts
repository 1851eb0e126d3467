/** Undefined where there is nothing left to do. */
type Job = () => Promise<unknown> | undefined

/**
 * What can wait until the device has nothing to do: one job at a time, each after a pause in which nobody asked for anything. A software
 * device computes on the cores that its compiler needs, so that what is compiled beside a call makes it take up to twice as long.
 */
export interface Idle {
  readonly later: (jobs: ReadonlyArray<Job>) => void
  /** Somebody asked for something just now. */
  readonly asked: () => void
  /** Somebody waits for this. */
  readonly until: (work: Promise<unknown>) => void
  readonly close: () => void
}

/** Milliseconds: longer than what a program does between calls that follow each other, or between frames. */
const pause = 100

/** `drained` resolves when the device has done what is submitted so far. */
export const make = (drained: () => Promise<unknown>, after: number = pause): Idle => {
  let jobs: Array<Job> = []
  let [count, seen, waiting] = [0, -1, 0]
  let timer: ReturnType<typeof setTimeout> | undefined

  const asked = (): void => {
    count++
  }

  const until = (work: Promise<unknown>): void => {
    const end = (): void => {
      waiting--
      asked()
    }
    waiting++
    work.then(end, end)
  }

  /** Each pause: nothing was asked for since the last one, or who knows how long the device takes for it. */
  const look = async (): Promise<void> => {
    if (waiting === 0 && count === seen) {
      let work: Promise<unknown> | undefined
      while (work === undefined && jobs.length > 0) work = jobs.shift()?.()
      if (work !== undefined) until(work)
    } else {
      seen = count
      // A device that goes away has nothing to do.
      await drained().catch(() => {})
    }
    watch()
  }

  const watch = (): void => {
    timer = jobs.length === 0 || after === Infinity ? undefined : setTimeout(look, after)
    // In Node a timer keeps the process; this is not worth that.
    const { unref } = (timer ?? {}) as { readonly unref?: () => void }
    unref?.call(timer)
  }

  return {
    later: (more) => {
      jobs = [...jobs, ...more]
      if (timer === undefined) watch()
    },
    asked,
    until,
    close: () => {
      jobs = []
      clearTimeout(timer)
    }
  }
}
