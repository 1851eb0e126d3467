import { InvalidArray, OutOfMemory } from "../../errors.ts"
import type * as Buffers from "./Buffers.ts"
import type { Session } from "./Session.ts"

/** Gives buffers to commands and remembers them. */
export interface Acquire {
  /** A buffer for kernels. */
  readonly storage: (bytes: number, what: string) => GPUBuffer
  /** A buffer that the host reads. */
  readonly staging: (bytes: number, what: string) => GPUBuffer
  /** Writes data into a buffer, at once or by a copy that has to be encoded before anything reads it. */
  readonly write: (to: GPUBuffer, data: ArrayBufferView<ArrayBuffer>) => void
  readonly encodeWrites: (encoder: GPUCommandEncoder) => void
  /** Commands that do nothing and cannot run unless every buffer so far got its memory: of several submits none does then. */
  readonly touch: (encoder: GPUCommandEncoder) => void
  /** Submits what is to be copied, by itself. */
  readonly submitWrites: () => void
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
  const { buffers, staging, uploads } = session
  const acquired: Array<readonly [Buffers.Buffers, GPUBuffer]> = []
  const from =
    (pool: Buffers.Buffers) =>
    (bytes: number, what: string): GPUBuffer => {
      const buffer = pool.acquire(bytes, what)
      acquired.push([pool, buffer])
      return buffer
    }
  const staged: Array<{ readonly from: GPUBuffer; readonly to: GPUBuffer; readonly bytes: number }> = []
  const write: Acquire["write"] = (to, data) => {
    // Deno ends the process where a queue is given nothing to write.
    if (data.byteLength === 0) return
    // A device may need memory for it.
    session.making()
    const from = uploads.stage(data)
    if (from === undefined) session.device.queue.writeBuffer(to, 0, data)
    else staged.push({ from, to, bytes: data.byteLength })
  }
  const encodeWrites: Acquire["encodeWrites"] = (encoder) => {
    for (const { from, to, bytes } of staged) encoder.copyBufferToBuffer(from, 0, to, 0, bytes)
  }
  const touch: Acquire["touch"] = (encoder) => {
    for (const [, buffer] of acquired) encoder.clearBuffer(buffer, 0, 0)
    for (const { from, to } of staged) encoder.copyBufferToBuffer(from, 0, to, 0, 0)
  }
  const submitWrites = (): void => {
    if (staged.length === 0) return
    const encoder = session.device.createCommandEncoder()
    encodeWrites(encoder)
    session.device.queue.submit([encoder.finish()])
  }
  const created = () => buffers.created() + staging.created() + uploads.created()
  const before = created()
  try {
    const { value, failure } = session.watch(() =>
      commands({ storage: from(buffers), staging: from(staging), write, encodeWrites, touch, submitWrites })
    )
    // Only a new buffer can want for memory: what reuses all of its buffers waits for nothing.
    if (failure !== undefined && created() > before) {
      const failed = await failure
      session.check()
      if (failed !== undefined) throw failed
    } else failure?.then((late) => late !== undefined && session.report(late))
    for (const { from } of staged) uploads.recycle(from)
    return value
  } catch (cause) {
    // An argument that is refused says nothing against the buffers of those before it.
    const back = cause instanceof InvalidArray ? "release" : "discard"
    for (const [pool, buffer] of acquired) pool[back](buffer)
    for (const { from } of staged) uploads.discard(from)
    if (!(cause instanceof OutOfMemory && again)) throw cause
    if (![staging.trim(), buffers.trim(), uploads.trim()].includes(true)) throw cause
    return transact(session, commands, false)
  }
}
