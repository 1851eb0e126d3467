import type { Bindings } from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import type { RunOptions, Value } from "../../Backend.ts"
import { InvalidArray, OutOfMemory } from "../../errors.ts"
import * as Program from "../Program.ts"
import * as Size from "../Size.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import type { Session } from "./Session.ts"
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
  readonly donated: ReadonlySet<number>
  readonly steps: ReadonlyArray<Program.Step>
}

/**
 * One call: upload, one compute pass, one submit. Throws a typed error before anything is submitted, or returns results that
 * are on their way. Every buffer it acquires and does not return goes back to the pool, also when it throws.
 */
export const execute = async (
  session: Session,
  loaded: Loaded,
  values: ReadonlyArray<Value>,
  sizes: Bindings,
  options: RunOptions
): Promise<ReadonlyArray<DeviceTensor.DeviceTensor>> => {
  const { device, buffers, limits } = session
  const { program } = loaded
  session.check()
  const refused = Program.unsupported(program, sizes, limits)
  if (refused !== undefined) throw refused

  const acquired: Array<GPUBuffer> = []
  const acquire = (bytes: number, what: string): GPUBuffer => {
    const buffer = buffers.acquire(bytes, what)
    acquired.push(buffer)
    return buffer
  }
  const before = buffers.created()
  device.pushErrorScope("out-of-memory")
  let bound: Bound
  try {
    bound = bindBuffers(session, program, values, sizes, options, acquire)
    submit(session, loaded, bound, sizes)
  } catch (cause) {
    device.popErrorScope().catch(() => null)
    acquired.forEach(buffers.release)
    throw cause
  }
  const outcome = device.popErrorScope().catch(() => null)
  // Only a new buffer can want for memory: a call that reuses all of its buffers waits for nothing.
  const failed = buffers.created() > before ? await outcome : null
  if (failed !== null) {
    const bytes = acquired.reduce((sum, b) => sum + b.size, 0)
    acquired.forEach(buffers.discard)
    throw new OutOfMemory({
      bytes,
      message: `the device has no memory for the ${bytes} bytes of this call: ${failed.message}`,
      hint: "use a smaller batch or length, or close scopes that hold device arrays"
    })
  }
  for (const i of bound.donated) {
    const buffer = (values[i] as DeviceTensor.DeviceTensor).take()
    if (buffer !== undefined && !bound.outputs.includes(buffer)) buffers.release(buffer)
  }
  const kept = new Set(bound.outputs)
  for (const buffer of acquired) if (!kept.has(buffer)) buffers.release(buffer)
  return program.outputs.map(({ type }, i) =>
    DeviceTensor.make(session, type.dtype, Shape.evaluate(type.shape, sizes), bound.outputs[i] as GPUBuffer)
  )
}

/** Finds or acquires a buffer for each argument, result, slot and for the lengths, and uploads what is on the host. */
const bindBuffers = (
  session: Session,
  program: Program.Program,
  values: ReadonlyArray<Value>,
  sizes: Bindings,
  options: RunOptions,
  acquire: (bytes: number, what: string) => GPUBuffer
): Bound => {
  const { queue } = session.device
  const inputs = program.inputs.map((port, i) => {
    const [value, what] = [values[i] as Value, `input ${JSON.stringify(port.name)}`]
    if ("_tag" in value) return DeviceTensor.bufferOf(session, value, what)
    const buffer = acquire(Size.evaluate(port.bytes, sizes), what)
    queue.writeBuffer(buffer, 0, toDevice(value))
    return buffer
  })
  // Host data given away is a copy anyhow: there is no device memory to reuse.
  const donated = new Set([...options.donated].filter((i) => "_tag" in (values[i] as Value)))
  for (const i of donated) {
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
  const steps = Program.steps(program, sizes, donated)
  const slots = new Map(
    [...Program.slotsOf(steps)].map((i) => {
      const { bytes } = program.slots[i] as Program.Slot
      return [i, acquire(Size.evaluate(bytes, sizes), `intermediate buffer ${i}`)] as const
    })
  )
  const uniform = Program.uniform(program, sizes)
  const lengths = acquire(uniform.byteLength, "the lengths")
  queue.writeBuffer(lengths, 0, uniform)
  return { inputs, outputs, slots, lengths, donated, steps }
}

/** Encodes the steps of this call into one pass and submits it. */
const submit = (session: Session, loaded: Loaded, bound: Bound, sizes: Bindings): void => {
  const { program, pipelines, constants } = loaded
  const { steps } = bound
  if (steps.length === 0) return
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
  device.queue.submit([encoder.finish()])
}
