import type { Bindings } from "../../../ir/Dim.ts"
import * as Dim from "../../../ir/Dim.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import type { RunOptions, Value } from "../../Backend.ts"
import { DeviceLost, InvalidArray, KernelError, UnsupportedByDevice } from "../../errors.ts"
import type { Stopwatch } from "../../stopwatch.ts"
import * as Wat from "../assembler/print.ts"
import { mostBytes } from "../limits.ts"
import * as Program from "../Program.ts"
import * as Work from "../work.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import { type Layout, layout } from "./layout.ts"
import type { Session } from "./Session.ts"
import { Cancelled, chunksOf, type Runnable, type Signal, solo } from "./threads/Pool.ts"
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
  const addresses = yield* start(session, loaded, call)
  return addresses.map((address, i) => {
    const { type } = loaded.program.outputs[i] as Program.Output
    const shape = Shape.evaluate(type.shape, call.sizes)
    return DeviceTensor.make(session, type.dtype, shape, address, session.heap.release)
  })
}

/** One call whose results are read back. */
export function* executeAndRead(
  session: Session,
  loaded: Loaded,
  call: Call
): Generator<void, ReadonlyArray<HostArray>> {
  const addresses = yield* start(session, loaded, call)
  const results = loaded.program.outputs.map(({ type }, i) =>
    read(session.memory.buffer, addresses[i] as number, type.dtype, Shape.evaluate(type.shape, call.sizes))
  )
  for (const address of new Set(addresses)) session.heap.release(address)
  return results
}

/** What of one call cannot be addressed. Called before anything runs. */
const check = (program: Program.Program, sizes: Bindings): void => {
  const tensors = [...program.inputs, ...program.outputs].map(
    (p) =>
      [
        `${JSON.stringify(p.name)} ${TensorType.print(p.type)}`,
        Dim.evaluate(Program.storageBytes(p.type), sizes)
      ] as const
  )
  const slots = program.slots.map(
    (s, i) => [`intermediate memory ${i}`, Program.slotBytes(s, sizes)] as const
  )
  for (const [what, bytes] of [...tensors, ...slots]) {
    if (bytes > mostBytes) {
      throw new UnsupportedByDevice({
        message: `${what} takes ${bytes} bytes, WebAssembly memory holds ${mostBytes} here`,
        hint: "split the computation along its batch, or use a GPU backend"
      })
    }
  }
}

/** Arguments that are arrays here already: nobody gives their memory back while the call reads it. */
const held = (
  session: Session,
  program: Program.Program,
  { values, options }: Call
): {
  readonly tensors: ReadonlyMap<number, DeviceTensor.DeviceTensor>
  readonly donated: ReadonlyMap<number, DeviceTensor.DeviceTensor>
} => {
  const nameOf = (i: number): string => `input ${JSON.stringify(program.inputs[i]?.name)}`
  const tensors = new Map(
    values.flatMap((value, i) => {
      if (!("_tag" in value)) return []
      DeviceTensor.addressOf(session, value, nameOf(i))
      return [[i, value as DeviceTensor.DeviceTensor] as const]
    })
  )
  // Host data given away is a copy anyhow: there is no memory to reuse.
  const donated = new Map([...tensors].filter(([i]) => options.donated.has(i)))
  for (const [i, tensor] of donated) {
    const twice = [...tensors].some(([j, other]) => j !== i && other === tensor)
    if (!twice && !tensor.held()) continue
    throw new InvalidArray({
      message: `${nameOf(i)} is donated, but ${twice ? "the same array is passed twice" : "another call reads it"}`,
      hint: "pass a copy, or do not donate it"
    })
  }
  return { tensors, donated }
}

/** What a step asks of threads, but for addresses. */
const jobOf = (
  session: Session,
  program: Program.Program,
  { kernel, work }: Program.Step,
  sizes: Bindings
) => {
  const items = Program.items((program.kernels[kernel] as Program.Kernel).items, sizes)
  const chunks = chunksOf(Work.evaluate(work, sizes), items, session.pool.threads(), session.leastWork)
  return { kernel, items, chunks }
}

/** What of a call follows from its lengths, and from which arguments are copied or donated. */
interface Prepared {
  readonly key: string
  readonly steps: ReadonlyArray<Program.Step>
  readonly jobs: ReadonlyArray<ReturnType<typeof jobOf>>
  readonly total: number
  /** By the number of threads. */
  readonly layouts: Map<number, Layout>
}

/** Of each program's last call: generation repeats the same lengths word after word. */
const lastOf = new WeakMap<Loaded, Prepared>()

const prepared = (
  session: Session,
  loaded: Loaded,
  sizes: Bindings,
  copied: ReadonlyArray<number>,
  donated: ReadonlySet<number>
): Prepared => {
  const { program } = loaded
  const key = [program.symbols.map((s) => sizes[s]), copied, [...donated], session.pool.threads()].join(";")
  const last = lastOf.get(loaded)
  if (last?.key === key) return last
  check(program, sizes)
  const steps = Program.steps(program, sizes, donated)
  // The kernels of a node share what they say of their work.
  const work = [...new Set(steps.map((step) => step.work))]
  const made = {
    key,
    steps,
    jobs: steps.map((step) => jobOf(session, program, step, sizes)),
    total: work.reduce((sum, w) => sum + Work.evaluate(w, sizes), 0),
    layouts: new Map()
  }
  lastOf.set(loaded, made)
  return made
}

/**
 * Runs the steps and gives the addresses of the outputs, which the caller owns. All memory is had before anything is written: a call
 * that lacks some leaves nothing behind. One that fails later has consumed what it was given.
 */
export function* start(session: Session, loaded: Loaded, call: Call): Generator<void, ReadonlyArray<number>> {
  const { heap, memory } = session
  const { program } = loaded
  const { values, sizes, signal } = call
  if (signal.cancelled) throw new Cancelled()
  const { tensors, donated } = held(session, program, call)
  const copied = [...program.inputs.keys()].filter((i) => !tensors.has(i))
  const acquired: Array<number> = []
  const acquire = (bytes: number, what: string): number => {
    const address = heap.allocate(bytes, what)
    acquired.push(address)
    return address
  }
  const { steps, jobs, total, layouts } = prepared(session, loaded, sizes, copied, new Set(donated.keys()))
  const team = jobs.some(({ chunks }) => chunks > 1) ? session.pool.take(loaded, total) : solo(loaded)
  for (const tensor of tensors.values()) tensor.hold()
  try {
    const outputs = program.outputs.map((port) =>
      port.donor !== undefined && donated.has(port.donor)
        ? DeviceTensor.addressOf(session, donated.get(port.donor) as DeviceTensor.DeviceTensor, "")
        : acquire(
            Dim.evaluate(Program.storageBytes(port.type), sizes),
            `output ${JSON.stringify(port.name)} ${TensorType.print(port.type)}`
          )
    )
    const own = layouts.get(team.threads) ?? layout(program, steps, copied, sizes, team.threads)
    layouts.set(team.threads, own)
    const arena = acquire(own.bytes, "what a call needs besides its results")
    const inputs = program.inputs.map((_, i) => {
      const tensor = tensors.get(i)
      return tensor === undefined
        ? arena + (own.inputs.get(i) as number)
        : DeviceTensor.addressOf(session, tensor, "")
    })
    for (const [i, tensor] of donated) {
      tensor.give()
      acquired.push(inputs[i] as number)
    }

    const addressOf = ({ _tag, index }: Program.BufferRef): number => {
      if (_tag === "slot") return arena + (own.slots.get(index) as number)
      const from = { input: inputs, output: outputs, constant: loaded.constants }
      return from[_tag][index] as number
    }
    for (const i of copied) write(memory.buffer, inputs[i] as number, values[i] as HostArray)
    const { symbols } = program
    call.stopwatch?.start()
    for (const [n, step] of steps.entries()) {
      const words = [...symbols.map((s) => sizes[s] as number), ...step.buffers.map(addressOf)]
      for (let t = 0; t < team.threads; t++) {
        const address = arena + own.args + t * own.argsStride
        // Another view each time: memory may have grown while others had a turn.
        new Int32Array(memory.buffer, address, 1 + words.length).set([
          arena + own.local + t * own.localStride,
          ...words
        ])
      }
      const { kernel } = step
      const name = program.kernels[kernel]?.name ?? ""
      try {
        const job = jobs[n] as (typeof jobs)[number]
        yield* team.run({ ...job, args: arena + own.args, stride: own.argsStride }, signal)
        call.stopwatch?.lap({ name, kernel, workgroups: job.chunks })
      } catch (cause) {
        if (cause instanceof Cancelled || cause instanceof DeviceLost) throw cause
        throw new KernelError({
          message: `the kernel ${name} trapped: ${cause instanceof Error ? cause.message : String(cause)}`,
          source: Wat.print(program.module),
          hint: "this is a defect of Effuse: please report it with the graph"
        })
      }
    }
    const kept = new Set(outputs)
    for (const address of acquired.splice(0)) if (!kept.has(address)) heap.release(address)
    return outputs
  } finally {
    team.leave()
    for (const tensor of tensors.values()) tensor.letGo()
    acquired.forEach(heap.release)
  }
}
