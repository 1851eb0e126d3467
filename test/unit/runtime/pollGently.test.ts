/** When the loop that waits for the device looks for its end, on a clock of the test's own. */
import { describe, expect, test } from "vitest"
import { makeTurns } from "../../../src/webgpu/pollGently.ts"

/** A machine on which only what is scheduled takes time: a turn of the event loop a hundredth of a millisecond. */
const machine = () => {
  let now = 0
  let slept = 0
  let timers = 0
  let queue: Array<{ readonly at: number; readonly run: () => void }> = []
  const add = (at: number, run: () => void) => {
    const entry = { at, run }
    queue.push(entry)
    return entry
  }
  const turns = makeTurns({
    now: () => now,
    immediate: (run) => add(now + 0.01, run),
    later: (run, milliseconds) => {
      timers++
      return add(now + milliseconds + 0.1, run)
    },
    cancel: (timer) => {
      queue = queue.filter((entry) => entry !== timer)
    },
    sleep: (milliseconds) => {
      slept += milliseconds
      now += milliseconds
    }
  })
  // Dawn's loop: one for all who wait; it goes on as long as anybody does.
  let looping = false
  let waiting: Array<{ readonly end: number; readonly done: (at: number) => void }> = []
  const turn = (): void => {
    looping = false
    const over = waiting.filter(({ end }) => end <= now)
    if (waiting.length > 0) loop()
    waiting = waiting.filter(({ end }) => end > now)
    for (const { done } of over) done(now)
  }
  const loop = (): void => {
    if (looping) return
    looping = true
    turns.schedule(turn)
  }
  return {
    /** Begins work of so many milliseconds, and calls with what the wait for it took. */
    wait: (work: number, done: (took: number) => void) => {
      turns.begin()
      const began = now
      waiting.push({ end: now + work, done: (at) => done(at - began) })
      loop()
    },
    run: () => {
      while (queue.length > 0) {
        const next = queue.reduce((a, b) => (b.at < a.at ? b : a))
        queue = queue.filter((entry) => entry !== next)
        now = Math.max(now, next.at)
        next.run()
      }
    },
    told: () => ({ slept, timers })
  }
}

/** What waits for these pieces of work take, one after the other. */
const oneByOne = (...work: ReadonlyArray<number>) => {
  const it = machine()
  const took: Array<number> = []
  const next = (i: number): void => {
    if (i < work.length)
      it.wait(work[i] as number, (t) => {
        took.push(t)
        next(i + 1)
      })
  }
  next(0)
  it.run()
  return { took, ...it.told() }
}

describe("turns of the loop that waits", () => {
  test("follow at once for work of an instant, which takes no sleep and no timer", () => {
    const { took, slept, timers } = oneByOne(0.01, 0.03)
    for (const [i, work] of [0.01, 0.03].entries()) expect(took[i]).toBeLessThan(work + 0.02)
    expect([slept, timers]).toEqual([0, 0])
  })

  test("notice longer work late by a sixteenth at most, and sleep between: the work may want this core", () => {
    for (const work of [0.5, 1.5, 7]) {
      const { took, slept, timers } = oneByOne(work)
      expect(took[0]).toBeLessThan(work * (1 + 1 / 16) + 0.02)
      expect(slept).toBeGreaterThan(work * 0.6)
      expect(timers).toBe(0)
    }
  })

  test("come once a millisecond for long work", () => {
    const { took, timers } = oneByOne(100)
    expect(took[0]).toBeLessThan(102)
    expect(timers).toBeGreaterThan(80)
  })

  test("short work after long work does not wait for the timer of the long", () => {
    const { took } = oneByOne(100, 0.05, 0.05, 30, 0.05)
    for (const i of [1, 2, 4]) expect(took[i]).toBeLessThan(0.1)
  })

  test("short work beside long work does not either, and both end", () => {
    const it = machine()
    const ended: Array<string> = []
    it.wait(50, () => ended.push("long"))
    it.wait(20, () => {
      ended.push("middle")
      it.wait(0.05, (took) => {
        ended.push("short")
        expect(took).toBeLessThan(0.1)
      })
    })
    it.run()
    expect(ended).toEqual(["middle", "short", "long"])
  })
})
