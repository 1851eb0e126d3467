import { InvalidArray, OutOfMemory } from "../../errors.ts"
import type * as Buffers from "./Buffers.ts"
import type { Session } from "./Session.ts"

/** Gives buffers to commands and remembers them. */
export interface Acquire {
  /** A buffer for kernels. */
  readonly storage: (bytes: number, what: string) => GPUBuffer
  /** A buffer that the host reads. */
  readonly staging: (bytes: number, what: string) => GPUBuffer
}

/**
 * Runs commands that need buffers, all or nothing: what they acquire is theirs when they succeed, and is taken back when they throw
 * or when the device reports a failure. Where memory is short, the pools are emptied and the commands run once more.
 */
export const transact = async <A>(
  session: Session,
  commands: (acquire: Acquire) => A,
  again = true
): Promise<A> => {
  session.check()
  const { buffers, staging } = session
  const acquired: Array<readonly [Buffers.Buffers, GPUBuffer]> = []
  const from =
    (pool: Buffers.Buffers) =>
    (bytes: number, what: string): GPUBuffer => {
      const buffer = pool.acquire(bytes, what)
      acquired.push([pool, buffer])
      return buffer
    }
  const created = () => buffers.created() + staging.created()
  const before = created()
  try {
    const { value, failure } = session.watch(() =>
      commands({ storage: from(buffers), staging: from(staging) })
    )
    // Only a new buffer can want for memory: what reuses all of its buffers waits for nothing.
    if (created() > before) {
      const failed = await failure
      session.check()
      if (failed !== undefined) throw failed
    } else failure.then((late) => late !== undefined && session.report(late))
    return value
  } catch (cause) {
    // An argument that is refused says nothing against the buffers of those before it.
    const back = cause instanceof InvalidArray ? "release" : "discard"
    for (const [pool, buffer] of acquired) pool[back](buffer)
    if (!(cause instanceof OutOfMemory && again)) throw cause
    if (![staging.trim(), buffers.trim()].includes(true)) throw cause
    return transact(session, commands, false)
  }
}
