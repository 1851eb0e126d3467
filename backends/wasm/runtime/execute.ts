import type { Bindings } from "../../../ir/Dim.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import type { RunOptions, Value } from "../../Backend.ts"
import { InvalidArray, KernelError } from "../../errors.ts"
import type { Stopwatch } from "../../stopwatch.ts"
import * as Wat from "../assembler/print.ts"
import type * as Program from "../Program.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import { type Prepared, placed, prepared, wordsOf } from "./prepare.ts"
import type { Session } from "./Session.ts"
import { Cancelled, type Job, leastCall, type Runnable, type Signal, solo, Trapped } from "./threads/Pool.ts"
import { read, write } from "./transfer.ts"

/** A program whose module is instantiated and whose constants are in memory. */
export interface Loaded extends Runnable {
  readonly program: Program.Program
  readonly constants: ReadonlyArray<number>
}

/** One call: what it is given, and how it is told to stop. */
export interface Call {
  readonly values: ReadonlyArray<Value>
  readonly sizes: Bindings
  readonly options: RunOptions
  readonly signal: Signal
  /** Times each kernel. */
  readonly stopwatch?: Stopwatch
}

/** One call. Its results stay in memory; all that it needed besides goes back. */
export function* execute(
  session: Session,
  loaded: Loaded,
  call: Call
): Generator<void, ReadonlyArray<DeviceTensor.DeviceTensor>> {
  const results = yield* start(session, loaded, call)
  return results.map(({ address, shape }, i) => {
    const { type } = loaded.program.outputs[i] as Program.Output
    return DeviceTensor.make(session, type.dtype, shape, address, session.heap.release)
  })
}

/** One call whose results are read back. */
export function* executeAndRead(
  session: Session,
  loaded: Loaded,
  call: Call
): Generator<void, ReadonlyArray<HostArray>> {
  const results = yield* start(session, loaded, call)
  try {
    return results.map(({ address, shape }, i) =>
      read(session.memory.buffer, address, (loaded.program.outputs[i] as Program.Output).type.dtype, shape)
    )
  } finally {
    // The host may lack memory for a copy.
    for (const address of new Set(results.map((r) => r.address))) session.heap.release(address)
  }
}

/** Arguments that are arrays here already, by their place, and which of them the call may overwrite. */
interface Held {
  readonly tensors: ReadonlyMap<number, DeviceTensor.DeviceTensor>
  readonly inputs: Array<number>
  readonly copied: ReadonlyArray<number>
  readonly donated: ReadonlyMap<number, DeviceTensor.DeviceTensor>
}

const held = (session: Session, program: Program.Program, { values, options }: Call): Held => {
  const nameOf = (i: number): string => `input ${JSON.stringify(program.inputs[i]?.name)}`
  const tensors = new Map<number, DeviceTensor.DeviceTensor>()
  const donated = new Map<number, DeviceTensor.DeviceTensor>()
  const inputs: Array<number> = []
  const copied: Array<number> = []
  values.forEach((value, i) => {
    if ("_tag" in value) {
      inputs.push(DeviceTensor.addressOf(session, value, () => nameOf(i)))
      tensors.set(i, value as DeviceTensor.DeviceTensor)
      // Host data given away is a copy anyhow: there is no memory to reuse.
      if (options.donated.has(i)) donated.set(i, value as DeviceTensor.DeviceTensor)
    } else {
      inputs.push(0)
      copied.push(i)
    }
  })
  for (const [i, tensor] of donated) {
    const twice = values.some((other, j) => j !== i && other === tensor)
    if (!twice && !tensor.held()) continue
    throw new InvalidArray({
      message: `${nameOf(i)} is donated, but ${twice ? "the same array is passed twice" : "another call reads it"}`,
      hint: "pass a copy, or do not donate it"
    })
  }
  return { tensors, inputs, copied, donated }
}

/** Where an output lies, and its sizes. */
interface Result {
  readonly address: number
  readonly shape: ReadonlyArray<number>
}

/**
 * Runs the steps and gives the outputs, whose memory the caller owns. All memory is had before anything is written: a call
 * that lacks some leaves nothing behind. One that fails later has consumed what it was given.
 */
export function* start(session: Session, loaded: Loaded, call: Call): Generator<void, ReadonlyArray<Result>> {
  const { heap, memory } = session
  const { program } = loaded
  const { values, sizes, signal } = call
  if (signal.cancelled) throw new Cancelled()
  const { tensors, inputs, copied, donated } = held(session, program, call)
  const acquired: Array<number> = []
  const acquire = (bytes: number, what: () => string): number => {
    const address = heap.allocate(bytes, what)
    acquired.push(address)
    return address
  }
  const ready = prepared(session, program, sizes, copied, [...donated.keys()])
  const team = isShared(ready, session) ? session.pool.take(loaded, ready.total) : solo(loaded)
  for (const tensor of tensors.values()) tensor.hold()
  try {
    const outputs = program.outputs.map(({ name, type, donor }, n) =>
      donor !== undefined && donated.has(donor)
        ? (inputs[donor] as number)
        : acquire(
            (ready.outputs[n] as Prepared["outputs"][number]).bytes,
            () => `output ${JSON.stringify(name)} ${TensorType.print(type)}`
          )
    )
    const place = placed(ready, program, sizes, copied, team.threads)
    const { own } = place
    const arena = acquire(own.bytes, () => "what a call needs besides its results")
    for (const i of copied) inputs[i] = arena + (own.inputs.get(i) as number)
    for (const [i, tensor] of donated) {
      tensor.give()
      acquired.push(inputs[i] as number)
    }
    for (const i of copied) write(memory.buffer, inputs[i] as number, values[i] as HostArray)
    const args = arena + own.args
    const { constants } = loaded
    const words = wordsOf(ready, place, program, team.threads, { arena, inputs, outputs, constants })
    new Int32Array(memory.buffer, args, words.length).set(words)
    const { stopwatch } = call
    const done = (n: number): void => {
      const { kernel, chunks } = ready.jobs[n] as Job
      stopwatch?.lap({ name: program.kernels[kernel]?.name ?? "", kernel, workgroups: chunks })
    }
    stopwatch?.start()
    try {
      const chain = { jobs: ready.jobs, args, stride: own.argsStride }
      yield* team.run(stopwatch === undefined ? chain : { ...chain, done }, signal)
    } catch (cause) {
      if (!(cause instanceof Trapped)) throw cause
      const { kernel } = ready.jobs[cause.job] as Job
      throw new KernelError({
        message: `the kernel ${program.kernels[kernel]?.name} trapped: ${cause.message}`,
        source: Wat.print(program.module),
        hint: "this is a defect of Effuse: please report it with the graph"
      })
    }
    const kept = new Set(outputs)
    for (const address of acquired.splice(0)) if (!kept.has(address)) heap.release(address)
    return ready.outputs.map(({ shape }, n) => ({ address: outputs[n] as number, shape }))
  } finally {
    team.leave()
    for (const tensor of tensors.values()) tensor.letGo()
    acquired.forEach(heap.release)
  }
}

/** Whether other threads are told of a call at all. */
const isShared = ({ jobs, total }: Prepared, { leastWork }: Session): boolean =>
  total >= leastCall * leastWork && jobs.some(({ chunks }) => chunks > 1)
