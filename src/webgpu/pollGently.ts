/** The methods after which Dawn polls until their promise settles. */
const pollingMethods: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
  ["GPUAdapter", ["requestDevice"]],
  ["GPUBuffer", ["mapAsync"]],
  ["GPUDevice", ["createComputePipelineAsync", "createRenderPipelineAsync", "popErrorScope"]],
  ["GPUQueue", ["onSubmittedWorkDone"]],
  ["GPUShaderModule", ["getCompilationInfo"]]
]

const patched = Symbol.for("effuse/dawn/polls-gently")

/**
 * While a promise is in flight Dawn looks for its end in a loop of `setImmediate`, which occupies a core, and a
 * software GPU needs that core to get the work done. It looks `setImmediate` up anew each time it goes around, and only
 * inside the methods above or inside the previous turn of the loop, so during those calls, and no others, the name
 * stands for a scheduler that soon sleeps between turns.
 */
export const pollGently = (globals: Readonly<Record<string, unknown>>): void => {
  // Nobody wakes who waits here: a sleep that is shorter than a timer can be. Pages, which have no such memory, do not come here.
  const cell = new Int32Array(new SharedArrayBuffer(4))
  const turns = makeTurns({
    now: () => performance.now(),
    immediate: globalThis.setImmediate,
    later: globalThis.setTimeout,
    cancel: globalThis.clearTimeout,
    sleep: (milliseconds) => void Atomics.wait(cell, 0, 0, milliseconds)
  })
  const withScheduler = <A>(run: () => A): A => {
    const original = globalThis.setImmediate
    globalThis.setImmediate = ((turn: () => void) =>
      turns.schedule(() => withScheduler(turn))) as unknown as typeof setImmediate
    try {
      return run()
    } finally {
      globalThis.setImmediate = original
    }
  }
  for (const [type, methods] of pollingMethods) {
    const prototype = (globals[type] as { readonly prototype: Record<PropertyKey, unknown> }).prototype
    if (prototype[patched] === true) continue
    prototype[patched] = true
    for (const method of methods) {
      const stock = prototype[method] as (...args: Array<unknown>) => unknown
      prototype[method] = function (this: unknown, ...args: Array<unknown>) {
        turns.begin()
        return withScheduler(() => stock.apply(this, args))
      }
    }
  }
}

/** What turns are made of; a test has its own. */
export interface Clock<Timer = unknown> {
  readonly now: () => number
  readonly immediate: (turn: () => void) => unknown
  readonly later: (turn: () => void, milliseconds: number) => Timer
  readonly cancel: (timer: Timer) => void
  /** Holds the thread. */
  readonly sleep: (milliseconds: number) => void
}

/**
 * Milliseconds in which turns follow at once; until which they sleep between, for such a part of what has passed. A thread that does not sleep
 * keeps the core even from a driver's thread that has only just been woken there: what takes 50 µs then takes two milliseconds.
 */
const [spinning, dozing, part] = [0.05, 8, 1 / 16]

/**
 * When the turns of a loop come that waits for something: at once, after a nap that is short beside the wait so far, or each
 * millisecond once that is short. The loop serves all who wait, and a newcomer is not made to sleep out the turn of one that waits for longer.
 */
export const makeTurns = <Timer>(clock: Clock<Timer>) => {
  let since = 0
  let asleep: { readonly timer: Timer; readonly turn: () => void } | undefined
  const soon = (turn: () => void): void => {
    clock.immediate(() => {
      // Here and not before: what the turn before has settled goes on first.
      const waited = clock.now() - since
      if (waited > spinning) clock.sleep(Math.min(waited, dozing) * part)
      turn()
    })
  }
  return {
    /** Somebody begins to wait. */
    begin: (): void => {
      since = clock.now()
      if (asleep === undefined) return
      const { timer, turn } = asleep
      asleep = undefined
      clock.cancel(timer)
      soon(turn)
    },
    schedule: (turn: () => void): void => {
      if (clock.now() - since < dozing) {
        soon(turn)
        return
      }
      const wake = (): void => {
        asleep = undefined
        turn()
      }
      asleep = { turn, timer: clock.later(wake, 1) }
    }
  }
}
