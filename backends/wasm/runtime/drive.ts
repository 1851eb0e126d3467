import { Effect } from "effect"
import type { BackendError } from "../../errors.ts"
import type { Signal } from "./threads/Pool.ts"

/**
 * Runs a call to its end, and lets other fibers and the event loop have a turn where it yields. An interruption takes effect there: the
 * call is told, and has left the memory when the fiber goes on.
 */
export const drive = <A>(
  start: (signal: Signal) => Generator<void, A>,
  attempt: <B>(run: () => B) => Effect.Effect<B, BackendError>
): Effect.Effect<A, BackendError> =>
  Effect.suspend(() => {
    const signal: Signal = { cancelled: false }
    const run = start(signal)
    const on: Effect.Effect<A, BackendError> = Effect.flatMap(
      attempt(() => run.next()),
      (at) => (at.done === true ? Effect.succeed(at.value) : Effect.andThen(Effect.yieldNow, on))
    )
    const stop: Effect.Effect<void> = Effect.suspend(() => {
      signal.cancelled = true
      return ended(run) ? Effect.void : Effect.andThen(Effect.yieldNow, stop)
    })
    return Effect.onInterrupt(on, () => stop)
  })

/** Whether a run that was told to stop has. What it throws then is that it was stopped. */
const ended = (run: Generator<void, unknown>): boolean => {
  try {
    return run.next().done === true
  } catch {
    return true
  }
}
