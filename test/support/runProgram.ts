import type { Plan } from "../../backends/Backend.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import type * as Program from "../../backends/webgpu/Program.ts"
import { deviceLimits } from "../../backends/webgpu/runtime/deviceLimits.ts"
import { execute } from "../../backends/webgpu/runtime/execute.ts"
import { read } from "../../backends/webgpu/runtime/read.ts"
import * as Session from "../../backends/webgpu/runtime/Session.ts"
import type * as Dim from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Limits from "../../ir/Limits.ts"
import type { Schedules } from "../../ir/Schedule.ts"
import { nullDevice, sharedDevice } from "./dawn.ts"

/** The plan of a graph as it stands: no pass has run, every node becomes kernels of its own. */
export const planOf = (graph: Graph, schedules: Schedules = new Map()): Plan => ({
  graph,
  schedules,
  memory: { slots: [], slotOf: new Map(), inPlace: new Map() }
})

let shared: Promise<Session.Session> | undefined

/** The software device as a session, opened once. */
export const sharedSession = (): Promise<Session.Session> => {
  shared ??= sharedDevice().then((device) => Session.make(device, deviceLimits(device, device.adapterInfo)))
  return shared
}

/** The device's limits with the schedule kind, and f16 arithmetic off as on every software device. */
export const limitsOf = async (kind: Limits.Limits["kind"]): Promise<Limits.Limits> => ({
  ...(await sharedSession()).limits,
  kind
})

/** Runs a program once on the software device. */
export const runProgram = async (
  program: Program.Program,
  inputs: ReadonlyArray<HostArray>,
  sizes: Dim.Bindings
): Promise<ReadonlyArray<HostArray>> => {
  const session = await sharedSession()
  const pipelines = await Promise.all(program.kernels.map(session.pipeline))
  const constants = program.constants.map(({ data }) => {
    const buffer = session.device.createBuffer({
      size: data.byteLength,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST
    })
    session.device.queue.writeBuffer(buffer, 0, data)
    return buffer
  })
  const loaded = { program, pipelines, constants }
  const results = await execute(session, loaded, inputs, sizes, { donated: new Set() })
  const arrays: Array<HostArray> = []
  for (const tensor of results) {
    arrays.push(await read(session, tensor))
    const buffer = tensor.take()
    if (buffer !== undefined) session.buffers.release(buffer)
  }
  for (const buffer of constants) buffer.destroy()
  return arrays
}

/** Lowers a graph as it stands and runs it. */
export const runGraph = async (
  graph: Graph,
  inputs: ReadonlyArray<HostArray>,
  sizes: Dim.Bindings,
  kind: Limits.Limits["kind"] = "cpu",
  schedules?: Schedules
): Promise<ReadonlyArray<HostArray>> =>
  runProgram(lower(planOf(graph, schedules), await limitsOf(kind)), inputs, sizes)

/** What every device offers, with the given features. */
export const variants: ReadonlyArray<readonly [name: string, limits: Limits.Limits]> = (
  ["gpu", "cpu"] as const
).flatMap((kind) =>
  [false, true].map(
    (shaderF16) =>
      [`${kind}${shaderF16 ? " with f16" : ""}`, { ...Limits.portable, kind, shaderF16 }] as const
  )
)

let front: Promise<Session.Session> | undefined

/** Compiles every kernel with Dawn's compiler front end, which sees all features; runs nothing. Rejects with its message. */
export const validate = async (program: Program.Program): Promise<void> => {
  front ??= nullDevice().then((device) => Session.make(device, deviceLimits(device, device.adapterInfo)))
  const session = await front
  await Promise.all(program.kernels.map(session.pipeline))
}
