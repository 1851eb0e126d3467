import type { Bindings } from "../../../ir/Dim.ts"
import * as Dim from "../../../ir/Dim.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import type { RunOptions, Value } from "../../Backend.ts"
import { InvalidArray, UnsupportedByDevice } from "../../errors.ts"
import { mostBytes } from "../limits.ts"
import * as Program from "../Program.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import type { Run } from "./engine.ts"
import type { Session } from "./Session.ts"
import { read, write } from "./transfer.ts"

/** A program whose module is instantiated and whose constants are in memory. */
export interface Loaded {
  readonly program: Program.Program
  readonly kernels: ReadonlyArray<Run>
  readonly constants: ReadonlyArray<number>
}

/** One call. Its results stay in memory; all that it needed besides goes back. */
export const execute = (
  session: Session,
  loaded: Loaded,
  values: ReadonlyArray<Value>,
  sizes: Bindings,
  options: RunOptions
): ReadonlyArray<DeviceTensor.DeviceTensor> =>
  start(session, loaded, values, sizes, options).map((address, i) => {
    const { type } = loaded.program.outputs[i] as Program.Output
    return DeviceTensor.make(
      session,
      type.dtype,
      Shape.evaluate(type.shape, sizes),
      address,
      session.heap.release
    )
  })

/** One call whose results are read back. */
export const call = (
  session: Session,
  loaded: Loaded,
  values: ReadonlyArray<Value>,
  sizes: Bindings,
  options: RunOptions
): ReadonlyArray<HostArray> => {
  const addresses = start(session, loaded, values, sizes, options)
  const results = loaded.program.outputs.map(({ type }, i) =>
    read(session.memory.buffer, addresses[i] as number, type.dtype, Shape.evaluate(type.shape, sizes))
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

/**
 * Runs the steps and gives the addresses of the outputs, which the caller owns. All memory is had before anything is written: a call
 * that lacks some leaves nothing behind.
 */
const start = (
  session: Session,
  loaded: Loaded,
  values: ReadonlyArray<Value>,
  sizes: Bindings,
  options: RunOptions
): ReadonlyArray<number> => {
  const { heap, memory } = session
  const { program, kernels } = loaded
  check(program, sizes)
  const acquired: Array<number> = []
  const acquire = (bytes: number, what: string): number => {
    const address = heap.allocate(bytes, what)
    acquired.push(address)
    return address
  }
  try {
    const names = program.inputs.map((port) => `input ${JSON.stringify(port.name)}`)
    const inputs = program.inputs.map((port, i) => {
      const value = values[i] as Value
      return "_tag" in value
        ? DeviceTensor.addressOf(session, value, names[i] as string)
        : acquire(Dim.evaluate(Program.storageBytes(port.type), sizes), names[i] as string)
    })
    // Host data given away is a copy anyhow: there is no memory to reuse.
    const donated = new Map(
      [...options.donated].flatMap((i) => {
        const value = values[i] as Value
        return "_tag" in value ? [[i, value as DeviceTensor.DeviceTensor] as const] : []
      })
    )
    for (const i of donated.keys()) {
      if (inputs.some((address, j) => j !== i && address === inputs[i])) {
        throw new InvalidArray({
          message: `${names[i]} is donated, but the same array is passed twice`,
          hint: "pass a copy, or do not donate it"
        })
      }
    }
    const outputs = program.outputs.map((port) =>
      port.donor !== undefined && donated.has(port.donor)
        ? (inputs[port.donor] as number)
        : acquire(
            Dim.evaluate(Program.storageBytes(port.type), sizes),
            `output ${JSON.stringify(port.name)} ${TensorType.print(port.type)}`
          )
    )
    const steps = Program.steps(program, sizes, new Set(donated.keys()))
    const slots = new Map(
      [...Program.slotsOf(steps)].map((i) => {
        const bytes = Program.slotBytes(program.slots[i] as Program.Slot, sizes)
        return [i, acquire(bytes, `intermediate memory ${i}`)] as const
      })
    )
    const local = Math.max(
      0,
      ...steps.map((s) => Dim.evaluate((program.kernels[s.kernel] as Program.Kernel).local, sizes))
    )
    const localAddress = acquire(local, "the memory of a kernel")
    const words = 1 + program.symbols.length + Math.max(0, ...steps.map((s) => s.buffers.length))
    const args = acquire(words * 4, "the arguments of kernels")

    const addressOf = ({ _tag, index }: Program.BufferRef): number => {
      const from = { input: inputs, output: outputs, constant: loaded.constants }
      return (_tag === "slot" ? slots.get(index) : from[_tag][index]) as number
    }
    values.forEach((value, i) => {
      if (!("_tag" in value)) write(memory.buffer, inputs[i] as number, value)
    })
    const block = new Int32Array(memory.buffer, args, words)
    block[0] = localAddress
    program.symbols.forEach((s, i) => {
      block[1 + i] = sizes[s] as number
    })
    for (const step of steps) {
      step.buffers.forEach((ref, i) => {
        block[1 + program.symbols.length + i] = addressOf(ref)
      })
      const { items } = program.kernels[step.kernel] as Program.Kernel
      ;(kernels[step.kernel] as Run)(args, 0, Program.items(items, sizes))
    }

    const kept = new Set(outputs)
    for (const [i, tensor] of donated) {
      tensor.give()
      acquired.push(inputs[i] as number)
    }
    for (const address of acquired.splice(0)) if (!kept.has(address)) heap.release(address)
    return outputs
  } catch (cause) {
    acquired.forEach(heap.release)
    throw cause
  }
}
