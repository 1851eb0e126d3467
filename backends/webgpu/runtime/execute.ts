import type { Bindings } from "../../../ir/Dim.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import type { RunOptions, Value } from "../../Backend.ts"
import { InvalidArray } from "../../errors.ts"
import * as Program from "../Program.ts"
import * as Size from "../Size.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import { readCopy } from "./read.ts"
import type { Session } from "./Session.ts"
import { type Acquire, transact } from "./transact.ts"
import { toDevice } from "./transfer.ts"

/** A program whose pipelines exist and whose constants are on the device. */
export interface Loaded {
  readonly program: Program.Program
  readonly pipelines: ReadonlyArray<GPUComputePipeline>
  readonly constants: ReadonlyArray<GPUBuffer>
}

/** The buffers of one call. */
interface Bound {
  readonly inputs: ReadonlyArray<GPUBuffer>
  readonly outputs: ReadonlyArray<GPUBuffer>
  /** Those that the steps of this call use. */
  readonly slots: ReadonlyMap<number, GPUBuffer>
  readonly lengths: GPUBuffer
  /** Arguments given away: they are lent to the call. */
  readonly donated: ReadonlyMap<number, DeviceTensor.DeviceTensor>
  readonly steps: ReadonlyArray<Program.Step>
  /** Copies of the outputs for the host, where it wants them. */
  readonly copies: ReadonlyArray<GPUBuffer>
  /** Buffers that are not an argument. */
  readonly acquired: ReadonlyArray<GPUBuffer>
}

/** One call. Its results stay on the device; all buffers but theirs are back in the pool. */
export const execute = async (
  session: Session,
  loaded: Loaded,
  values: ReadonlyArray<Value>,
  sizes: Bindings,
  options: RunOptions
): Promise<ReadonlyArray<DeviceTensor.DeviceTensor>> => {
  const { outputs } = await start(session, loaded, values, sizes, options, false)
  return loaded.program.outputs.map(({ type }, i) =>
    DeviceTensor.make(
      session,
      type.dtype,
      Shape.evaluate(type.shape, sizes),
      outputs[i] as GPUBuffer,
      session.buffers.release
    )
  )
}

/** One call whose results are read back: the copies for the host are part of the same submit. */
export const call = async (
  session: Session,
  loaded: Loaded,
  values: ReadonlyArray<Value>,
  sizes: Bindings,
  options: RunOptions
): Promise<ReadonlyArray<HostArray>> => {
  const { outputs, copies } = await start(session, loaded, values, sizes, options, true)
  // What the queue does next with these buffers comes after the copies.
  outputs.forEach(session.buffers.release)
  const results = await Promise.all(
    loaded.program.outputs.map(({ type }, i) =>
      readCopy(session, copies[i] as GPUBuffer, type.dtype, Shape.evaluate(type.shape, sizes))
    )
  )
  session.check()
  return results
}

/**
 * Uploads, encodes one compute pass and submits once. Throws a typed error before anything is submitted, or returns results that
 * are on their way. Every buffer it acquires and does not return goes back to the pool, also when it throws, and so does
 * every donated argument.
 */
const start = async (
  session: Session,
  loaded: Loaded,
  values: ReadonlyArray<Value>,
  sizes: Bindings,
  options: RunOptions,
  copied: boolean
): Promise<Bound> => {
  const refused = Program.unsupported(loaded.program, sizes, session.limits)
  if (refused !== undefined) throw refused
  const lent: Array<DeviceTensor.DeviceTensor> = []
  const settle = (kept: boolean): void => {
    for (const tensor of lent.splice(0)) tensor.settle(kept)
  }
  try {
    const bound = await transact(session, (acquire) => {
      settle(false)
      const made = bindBuffers(session, loaded.program, values, sizes, options, copied, acquire)
      submit(session, loaded, made, sizes)
      for (const tensor of made.donated.values()) {
        tensor.lend()
        lent.push(tensor)
      }
      return made
    })
    settle(true)
    const outputs = new Set(bound.outputs)
    const given = [...bound.donated.keys()].map((i) => bound.inputs[i] as GPUBuffer)
    for (const buffer of [...bound.acquired, ...given]) {
      if (!outputs.has(buffer)) session.buffers.release(buffer)
    }
    return bound
  } catch (cause) {
    settle(false)
    throw cause
  }
}

/** Finds or acquires a buffer for each argument, result, slot and for the lengths, and uploads what is on the host. */
const bindBuffers = (
  session: Session,
  program: Program.Program,
  values: ReadonlyArray<Value>,
  sizes: Bindings,
  options: RunOptions,
  copied: boolean,
  pools: Acquire
): Bound => {
  const { queue } = session.device
  const acquired: Array<GPUBuffer> = []
  const acquire = (bytes: number, what: string): GPUBuffer => {
    const buffer = pools.storage(bytes, what)
    acquired.push(buffer)
    return buffer
  }
  const inputs = program.inputs.map((port, i) => {
    const [value, what] = [values[i] as Value, `input ${JSON.stringify(port.name)}`]
    if ("_tag" in value) return DeviceTensor.bufferOf(session, value, what)
    const buffer = acquire(Size.evaluate(port.bytes, sizes), what)
    queue.writeBuffer(buffer, 0, toDevice(value))
    return buffer
  })
  // Host data given away is a copy anyhow: there is no device memory to reuse.
  const donated = new Map(
    [...options.donated].flatMap((i) => {
      const value = values[i] as Value
      return "_tag" in value ? [[i, value as DeviceTensor.DeviceTensor] as const] : []
    })
  )
  for (const i of donated.keys()) {
    if (inputs.some((b, j) => j !== i && b === inputs[i])) {
      throw new InvalidArray({
        message: `input ${JSON.stringify(program.inputs[i]?.name)} is donated, but the same array is passed twice`,
        hint: "pass a copy, or do not donate it"
      })
    }
  }
  const outputs = program.outputs.map((port) =>
    port.donor !== undefined && donated.has(port.donor)
      ? (inputs[port.donor] as GPUBuffer)
      : acquire(
          Size.evaluate(port.bytes, sizes),
          `output ${JSON.stringify(port.name)} ${TensorType.print(port.type)}`
        )
  )
  const steps = Program.steps(program, sizes, new Set(donated.keys()))
  const slots = new Map(
    [...Program.slotsOf(steps)].map((i) => {
      const { bytes } = program.slots[i] as Program.Slot
      return [i, acquire(Size.evaluate(bytes, sizes), `intermediate buffer ${i}`)] as const
    })
  )
  const uniform = Program.uniform(program, sizes)
  const lengths = acquire(uniform.byteLength, "the lengths")
  queue.writeBuffer(lengths, 0, uniform)
  const copies = copied
    ? program.outputs.map((port) =>
        pools.staging(Size.evaluate(port.bytes, sizes), `output ${JSON.stringify(port.name)}`)
      )
    : []
  return { inputs, outputs, slots, lengths, donated, steps, copies, acquired }
}

/** Encodes the steps of this call into one pass, and the copies for the host, and submits them together. */
const submit = (session: Session, loaded: Loaded, bound: Bound, sizes: Bindings): void => {
  const { program, pipelines, constants } = loaded
  const { steps, copies, outputs } = bound
  if (steps.length + copies.length === 0) return
  const resource = ({ _tag, index }: Program.BufferRef): GPUBufferBinding => {
    switch (_tag) {
      case "input":
        return sized(bound.inputs[index], program.inputs[index]?.bytes)
      case "output":
        return sized(bound.outputs[index], program.outputs[index]?.bytes)
      case "slot":
        return sized(bound.slots.get(index), program.slots[index]?.bytes)
      case "constant":
        return { buffer: constants[index] as GPUBuffer }
    }
  }
  const sized = (buffer: GPUBuffer | undefined, bytes: Size.Size | undefined): GPUBufferBinding => ({
    buffer: buffer as GPUBuffer,
    size: Size.evaluate(bytes as Size.Size, sizes)
  })
  const { device, limits } = session
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  for (const step of steps) {
    const kernel = program.kernels[step.kernel] as Program.Kernel
    const entries = step.buffers.map(
      (ref, i): GPUBindGroupEntry => ({ binding: i + 1, resource: resource(ref) })
    )
    pass.setPipeline(pipelines[step.kernel] as GPUComputePipeline)
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout: session.layout(kernel),
        entries: [{ binding: 0, resource: { buffer: bound.lengths } }, ...entries]
      })
    )
    pass.dispatchWorkgroups(...Program.dispatchSize(Size.evaluate(kernel.workgroups, sizes), limits))
  }
  pass.end()
  copies.forEach((copy, i) => {
    const bytes = Size.evaluate((program.outputs[i] as Program.Output).bytes, sizes)
    encoder.copyBufferToBuffer(outputs[i] as GPUBuffer, 0, copy, 0, bytes)
  })
  device.queue.submit([encoder.finish()])
}
