import type { Value } from "../../Backend.ts"
import type { KernelTime, Profile } from "../../Profile.ts"
import type { Dispatch } from "../Launch.ts"
import type * as Program from "../Program.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import { type Call, encodeDispatch, start } from "./execute.ts"
import type { Loaded } from "./Loaded.ts"
import type { Session } from "./Session.ts"
import { transact } from "./transact.ts"
import { storageBytes } from "./transfer.ts"

/** GPUMapMode.READ. */
const forReading = 0x1

/** Timestamps that one query set holds. */
const mostQueries = 4096

/**
 * One call of which each kernel is timed; it gives no results. Kernels run one after the other, each in a pass of its own. Arguments that
 * are donated stay: it takes copies of them.
 */
export const profile = async (call: Call): Promise<Profile> => {
  const timed = call.session.device.features.has("timestamp-query") ? byDevice : byHost
  const copies = await copiesOf(call)
  try {
    // They are no part of what is timed. A device that goes away says so below.
    if (copies.size > 0) await call.session.device.queue.onSubmittedWorkDone().catch(() => {})
    return await timed({ ...call, values: call.values.map((value, i) => copies.get(i) ?? value) })
  } finally {
    for (const copy of copies.values()) copy.close()
  }
}

/** Copies of the arrays that are donated. */
const copiesOf = ({ session, loaded, values, options }: Call) =>
  transact(session, (acquire) => {
    const copies = new Map<number, DeviceTensor.DeviceTensor>()
    const encoder = session.device.createCommandEncoder()
    for (const i of options.donated) {
      const value = values[i] as Value
      if (!("_tag" in value)) continue
      const what = `input ${JSON.stringify(loaded.program.inputs[i]?.name)}`
      const from = DeviceTensor.bufferOf(session, value, what)
      const { dtype, shape } = value
      const bytes = storageBytes(dtype, shape)
      const to = acquire.storage(bytes, `a copy of ${what}`)
      encoder.copyBufferToBuffer(from, 0, to, 0, bytes)
      copies.set(i, DeviceTensor.make(session, dtype, shape, to, session.buffers.release))
    }
    if (copies.size > 0) session.device.queue.submit([encoder.finish()])
    return copies
  })

const byDevice = async (call: Call): Promise<Profile> => {
  const { session, loaded } = call
  const { device } = session
  const began = performance.now()
  let sets: ReadonlyArray<GPUQuerySet> = []
  try {
    const { launch, outputs, more } = await start(call, (bound, acquire) => {
      const { submits } = bound.launch
      const count = 2 * submits.flat().length
      const bytes = Math.max(16, count * 8)
      // Where memory is short this runs twice.
      for (const set of sets) set.destroy()
      session.making()
      sets = Array.from({ length: Math.ceil(count / mostQueries) }, (_, i) =>
        device.createQuerySet({ type: "timestamp", count: Math.min(mostQueries, count - i * mostQueries) })
      )
      const resolved = acquire.storage(bytes, "the timestamps")
      const copy = acquire.staging(bytes, "the timestamps")
      acquire.submitWrites()
      let query = 0
      for (const [i, dispatches] of submits.entries()) {
        const encoder = device.createCommandEncoder()
        for (const dispatch of dispatches) {
          const at = query % mostQueries
          const pass = encoder.beginComputePass({
            timestampWrites: {
              querySet: sets[Math.floor(query / mostQueries)] as GPUQuerySet,
              beginningOfPassWriteIndex: at,
              endOfPassWriteIndex: at + 1
            }
          })
          encodeDispatch(session, loaded, bound, pass, dispatch, undefined)
          pass.end()
          query += 2
        }
        if (i === submits.length - 1) {
          for (const [n, set] of sets.entries()) {
            encoder.resolveQuerySet(set, 0, set.count, resolved, n * mostQueries * 8)
          }
          encoder.copyBufferToBuffer(resolved, 0, copy, 0, bytes)
        }
        device.queue.submit([encoder.finish()])
      }
      return { resolved, copy, submitted: performance.now() }
    })
    for (const buffer of [...outputs, more.resolved]) session.buffers.release(buffer)
    const dispatches = launch.submits.flat()
    const ticks = await read(session, more.copy, 2 * dispatches.length)
    return {
      clock: "device",
      resolution: resolutionOf(ticks),
      kernels: dispatches.map((d, i) => timed(loaded, d, since(ticks, 2 * i), since(ticks, 2 * i + 1))),
      host: hostTime(began, more.submitted)
    }
  } finally {
    for (const set of sets) set.destroy()
  }
}

/** Timestamps, and the staging buffer back to its pool. */
const read = async (session: Session, copy: GPUBuffer, count: number): Promise<BigUint64Array> => {
  try {
    await copy.mapAsync(forReading)
    const ticks = new BigUint64Array(copy.getMappedRange().slice(0), 0, count)
    copy.unmap()
    session.staging.release(copy)
    session.check()
    return ticks
  } catch (cause) {
    session.staging.discard(copy)
    throw cause
  }
}

const since = (ticks: BigUint64Array, i: number): number =>
  Math.max(0, Number((ticks[i] as bigint) - (ticks[0] as bigint)))

/** Steps to which implementations round: the standard's, Dawn's, and a microsecond. */
const roundings = [100_000, 65_536, 1_000]

const resolutionOf = (ticks: BigUint64Array): number =>
  roundings.find((step) => ticks.every((t) => t % BigInt(step) === 0n)) ?? 1

/** Without timestamps the host notes when it hears that each kernel is done; one submit each. */
const byHost = async (call: Call): Promise<Profile> => {
  const { session, loaded } = call
  const { device } = session
  const began = performance.now()
  const { launch, outputs, more } = await start(call, (bound, acquire) => {
    acquire.submitWrites()
    const heard = bound.launch.submits.flat().map((dispatch) => {
      const encoder = device.createCommandEncoder()
      const pass = encoder.beginComputePass()
      encodeDispatch(session, loaded, bound, pass, dispatch, undefined)
      pass.end()
      device.queue.submit([encoder.finish()])
      // A device that goes away says so below.
      return device.queue.onSubmittedWorkDone().then(
        () => performance.now(),
        () => 0
      )
    })
    return { heard, submitted: performance.now() }
  })
  outputs.forEach(session.buffers.release)
  const times = await Promise.all(more.heard)
  session.check()
  const after = (i: number): number => Math.max(0, ((times[i] ?? 0) - more.submitted) * 1e6)
  return {
    clock: "host",
    // What an event loop notices, not what its clock shows.
    resolution: 1e6,
    kernels: launch.submits.flat().map((d, i) => timed(loaded, d, after(i - 1), after(i))),
    host: hostTime(began, more.submitted)
  }
}

const hostTime = (began: number, submitted: number): Profile["host"] => ({
  encode: (submitted - began) * 1e6,
  wait: (performance.now() - submitted) * 1e6
})

/** Rounded times may end before they begin. */
const timed = ({ program }: Loaded, { step, grid }: Dispatch, begin: number, end: number): KernelTime => {
  const { kernel } = program.steps[step] as Program.Step
  const { name } = program.kernels[kernel] as Program.Kernel
  return { name, kernel, workgroups: grid[0] * grid[1], begin, end: Math.max(begin, end) }
}
