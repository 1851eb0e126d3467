import type { Bindings } from "../../../ir/Dim.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import type { RunOptions, Value } from "../../Backend.ts"
import { InvalidArray } from "../../errors.ts"
import { type Dispatch, type Launch, uniformBytes } from "../Launch.ts"
import type * as Program from "../Program.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import type { Loaded } from "./Loaded.ts"
import { readCopy } from "./read.ts"
import type { Session } from "./Session.ts"
import { type Acquire, transact } from "./transact.ts"
import { toDevice } from "./transfer.ts"

/** The buffers of one call. */
export interface Bound {
  readonly launch: Launch
  readonly inputs: ReadonlyArray<GPUBuffer>
  readonly outputs: ReadonlyArray<GPUBuffer>
  /** In which intermediate values lie, as the launch says. */
  readonly intermediates: ReadonlyArray<GPUBuffer>
  readonly lengths: GPUBuffer
  /** Arguments given away: they are lent to the call. */
  readonly donated: ReadonlyMap<number, DeviceTensor.DeviceTensor>
  /** Buffers that are not an argument. */
  readonly acquired: ReadonlyArray<GPUBuffer>
}

/** A call: what runs, on what, and where. */
export interface Call {
  readonly session: Session
  readonly loaded: Loaded
  readonly values: ReadonlyArray<Value>
  readonly sizes: Bindings
  readonly options: RunOptions
}

/** The results of a call stay on the device; all buffers but theirs are back in the pool. */
export const execute = async (call: Call): Promise<ReadonlyArray<DeviceTensor.DeviceTensor>> => {
  const { session, loaded } = call
  const { outputs, launch } = await start(call, (bound, acquire) => submit(call, bound, acquire, []))
  // A software device computes on the cores on which it compiles.
  loaded.askOthers(() => session.device.queue.onSubmittedWorkDone())
  return loaded.program.outputs.map(({ type }, i) =>
    DeviceTensor.make(
      session,
      type.dtype,
      [...(launch.outputs[i]?.shape ?? [])],
      outputs[i] as GPUBuffer,
      session.buffers.release
    )
  )
}

/** The results of a call are read back: the copies for the host are part of the same submit. */
export const executeAndRead = async (call: Call): Promise<ReadonlyArray<HostArray>> => {
  const { session, loaded } = call
  const { outputs, launch, more } = await start(call, (bound, acquire) => {
    const copies = loaded.program.outputs.map((port, i) =>
      acquire.staging(bound.launch.outputs[i]?.bytes ?? 0, outputName(port))
    )
    submit(call, bound, acquire, copies)
    return copies
  })
  // What the queue does next with these buffers comes after the copies.
  outputs.forEach(session.buffers.release)
  const results = await Promise.all(
    loaded.program.outputs.map(({ type }, i) =>
      readCopy(session, more[i] as GPUBuffer, type.dtype, [...(launch.outputs[i]?.shape ?? [])])
    )
  )
  session.check()
  loaded.askOthers()
  return results
}

/**
 * Uploads and lets `submitting` encode and submit. Throws a typed error before anything is submitted, or returns results that
 * are on their way. Every buffer that is no result goes back to the pool, also when it throws, and so does every donated
 * argument. What `submitting` acquires itself is its own once it has succeeded.
 */
export const start = async <A>(
  call: Call,
  submitting: (bound: Bound, acquire: Acquire) => A
): Promise<Bound & { readonly more: A }> => {
  const { session, loaded, values, sizes, options } = call
  const lent: Array<DeviceTensor.DeviceTensor> = []
  const settle = (kept: boolean): void => {
    for (const tensor of lent.splice(0)) tensor.settle(kept)
  }
  // Host data given away is a copy anyhow: there is no device memory to reuse.
  const donated = new Map(
    [...options.donated].flatMap((i) => {
      const value = values[i] as Value
      return "_tag" in value ? [[i, value as DeviceTensor.DeviceTensor] as const] : []
    })
  )
  const launch = loaded.launch(sizes, new Set(donated.keys()))
  if (launch.refused !== undefined) throw launch.refused
  const pending = loaded.waitFor(launch)
  if (pending !== undefined) await pending
  try {
    const bound = await transact(session, (acquire) => {
      settle(false)
      const made = bindBuffers(session, loaded, launch, values, donated, acquire)
      const more = submitting(made, acquire)
      for (const tensor of made.donated.values()) {
        tensor.lend()
        lent.push(tensor)
      }
      return { ...made, more }
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
  loaded: Loaded,
  launch: Launch,
  values: ReadonlyArray<Value>,
  donated: ReadonlyMap<number, DeviceTensor.DeviceTensor>,
  pools: Acquire
): Bound => {
  const { program } = loaded
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
    const buffer = acquire(launch.inputs[i] as number, what)
    pools.write(buffer, toDevice(value))
    return buffer
  })
  for (const i of donated.keys()) {
    if (inputs.some((b, j) => j !== i && b === inputs[i])) {
      throw new InvalidArray({
        message: `input ${JSON.stringify(program.inputs[i]?.name)} is donated, but the same array is passed twice`,
        hint: "pass a copy, or do not donate it"
      })
    }
  }
  const intermediates = launch.intermediates.buffers.map((bytes) => acquire(bytes, "intermediate memory"))
  let lengths = loaded.lengths(launch)
  if (lengths === undefined) {
    lengths = acquire(launch.uniform.byteLength, "the lengths")
    queue.writeBuffer(lengths, 0, launch.uniform)
  }
  const outputs = program.outputs.map((port, i) =>
    port.donor !== undefined && donated.has(port.donor)
      ? (inputs[port.donor] as GPUBuffer)
      : acquire(launch.outputs[i]?.bytes ?? 0, outputName(port))
  )
  return { launch, inputs, outputs, intermediates, lengths, donated, acquired }
}

const outputName = ({ name, type }: Program.Output): string =>
  `output ${JSON.stringify(name)} ${TensorType.print(type)}`

/** One encoder with one pass, unless work is split; arguments are copied before it, results for the host behind. */
const submit = (
  { session, loaded }: Call,
  bound: Bound,
  acquire: Acquire,
  copies: ReadonlyArray<GPUBuffer>
): void => {
  const { device } = session
  const { submits, outputs } = bound.launch
  for (const [i, dispatches] of submits.entries()) {
    const last = i === submits.length - 1
    if (dispatches.length === 0 && copies.length === 0) continue
    const encoder = device.createCommandEncoder()
    if (submits.length > 1) acquire.touch(encoder)
    if (i === 0) acquire.encodeWrites(encoder)
    const pass = encoder.beginComputePass()
    let current: GPUComputePipeline | undefined
    for (const dispatch of dispatches)
      current = encodeDispatch(session, loaded, bound, pass, dispatch, current)
    pass.end()
    for (const [n, copy] of (last ? copies : []).entries()) {
      encoder.copyBufferToBuffer(bound.outputs[n] as GPUBuffer, 0, copy, 0, outputs[n]?.bytes ?? 0)
    }
    device.queue.submit([encoder.finish()])
  }
}

/** Encodes one dispatch behind another of the pipeline `current`, and gives its own. */
export const encodeDispatch = (
  session: Session,
  loaded: Loaded,
  bound: Bound,
  pass: GPUComputePassEncoder,
  { step, grid, block }: Dispatch,
  current: GPUComputePipeline | undefined
): GPUComputePipeline => {
  const { kernel } = loaded.program.steps[step] as Program.Step
  const pipeline = loaded.pipelines[kernel] as GPUComputePipeline
  if (pipeline !== current) pass.setPipeline(pipeline)
  pass.setBindGroup(0, groupOf(session, loaded, bound, step, block))
  pass.dispatchWorkgroups(grid[0], grid[1])
  return pipeline
}

/** Buffers are bound whole, but for the ranges of intermediate values: a kernel knows its lengths, and other lengths find the same bind group. */
const groupOf = (
  session: Session,
  loaded: Loaded,
  bound: Bound,
  step: number,
  block: number
): GPUBindGroup => {
  const { program, constants } = loaded
  const { kernel, buffers: refs } = program.steps[step] as Program.Step
  const { inputs, outputs, intermediates, lengths, launch } = bound
  const whole = { input: inputs, output: outputs, constant: constants }
  const places = refs.map(({ _tag, index }) =>
    _tag === "slot" ? launch.intermediates.places.get(index) : undefined
  )
  const buffers = refs.map(({ _tag, index }, i) =>
    _tag === "slot"
      ? (intermediates[places[i]?.buffer as number] as GPUBuffer)
      : (whole[_tag][index] as GPUBuffer)
  )
  const meant: Array<GPUBuffer | number> = [...buffers, lengths]
  for (const place of places) if (place !== undefined) meant.push(place.offset, place.bytes)
  const known = block === 0 ? loaded.group(step, meant) : undefined
  if (known !== undefined) return known
  const most = session.limits.maxStorageBufferBindingSize
  session.making()
  const group = session.device.createBindGroup({
    layout: session.layout(program.kernels[kernel] as Program.Kernel),
    entries: [
      { binding: 0, resource: { buffer: lengths, offset: block, size: uniformBytes(program) } },
      ...buffers.map((buffer, i) => {
        const { offset = 0, bytes = Math.min(buffer.size, most) } = places[i] ?? {}
        return { binding: i + 1, resource: { buffer, offset, size: bytes } }
      })
    ]
  })
  if (block === 0) loaded.keepGroup(step, meant, group)
  return group
}
