import * as Intermediates from "../../backends/webgpu/Intermediates.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import * as Program from "../../backends/webgpu/Program.ts"
import { deviceLimits } from "../../backends/webgpu/runtime/deviceLimits.ts"
import * as Session from "../../backends/webgpu/runtime/Session.ts"
import { fromDevice, toDevice } from "../../backends/webgpu/runtime/transfer.ts"
import * as Size from "../../backends/webgpu/Size.ts"
import type * as Dim from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Limits from "../../ir/Limits.ts"
import type { Schedules } from "../../ir/Schedule.ts"
import * as Shape from "../../ir/Shape.ts"
import { nullDevice, sharedDevice } from "./dawn.ts"
import { planOf } from "./plans.ts"

let shared: Promise<Session.Session> | undefined

/** The software device with its pipelines, opened once. */
export const sharedSession = (): Promise<Session.Session> => {
  shared ??= sharedDevice().then((device) => Session.make(device, deviceLimits(device, device.adapterInfo)))
  return shared
}

/** The limits of the software device, for kernels of either kind. */
export const limitsOf = async (kind: Limits.Limits["kind"]): Promise<Limits.Limits> => ({
  ...(await sharedSession()).limits,
  kind
})

const layoutOf = (device: GPUDevice, kernel: Program.Kernel): GPUBindGroupLayout =>
  device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: "uniform" } },
      ...kernel.bindings.map(
        (b, i): GPUBindGroupLayoutEntry => ({
          binding: i + 1,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: b.access === "read" ? "read-only-storage" : "storage" }
        })
      )
    ]
  })

/** Rejects with the compiler's message and the text of the kernel. */
const compile = async (device: GPUDevice, kernel: Program.Kernel): Promise<GPUComputePipeline> => {
  device.pushErrorScope("validation")
  const module = device.createShaderModule({ code: kernel.wgsl })
  const made = device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layoutOf(device, kernel)] }),
    compute: { module, entryPoint: "main" }
  })
  const problem = await device.popErrorScope()
  const pipeline = await made.catch((cause: Error) => cause)
  if (problem === null && !(pipeline instanceof Error)) return pipeline
  throw new Error(`${kernel.name}: ${problem?.message ?? String(pipeline)}\n${kernel.wgsl}`)
}

/** What intermediate memory and results hold before anything is written: a value that shows where it is read. */
const dirt = 0x7fc12345

/**
 * Runs a program once on the software device, by nothing but the program's own description. Donated inputs are overwritten in
 * the place of outputs that name them as donor.
 */
export const runProgram = async (
  program: Program.Program,
  inputs: ReadonlyArray<HostArray>,
  sizes: Dim.Bindings,
  donated: ReadonlySet<number> = new Set(),
  /** What the host goes by when it folds counts of workgroups; the device's own unless given. */
  assumed?: Limits.Limits
): Promise<ReadonlyArray<HostArray>> => {
  const { device, limits: own, pipeline, layout } = await sharedSession()
  const limits = assumed ?? own
  const refused = Program.unsupported(program, sizes, limits)
  if (refused !== undefined) throw refused
  const made: Array<GPUBuffer> = []
  const buffer = (bytes: number, data?: ArrayBufferView<ArrayBuffer>): GPUBuffer => {
    const usage =
      GPUBufferUsage.STORAGE | GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
    const b = device.createBuffer({ size: bytes, usage })
    device.queue.writeBuffer(b, 0, new Uint32Array(bytes / 4).fill(dirt))
    if (data !== undefined && data.byteLength > 0) device.queue.writeBuffer(b, 0, data)
    made.push(b)
    return b
  }
  const bytesOf = (x: { readonly bytes: Size.Size }): number => Size.evaluate(x.bytes, sizes)
  const given = program.inputs.map((p, i) => buffer(bytesOf(p), toDevice(inputs[i] as HostArray)))
  const buffers = {
    input: given,
    constant: program.constants.map((c) => buffer(c.data.byteLength, c.data)),
    output: program.outputs.map((o) =>
      o.donor !== undefined && donated.has(o.donor) ? (given[o.donor] as GPUBuffer) : buffer(bytesOf(o))
    )
  }
  const running = Program.steps(program, sizes, donated)
  const intermediates = Intermediates.of(program, running, sizes, limits)
  const arenas = intermediates.buffers.map((bytes) => buffer(bytes))
  const bindingOf = ({ _tag, index }: Program.BufferRef): GPUBufferBinding => {
    if (_tag !== "slot") return { buffer: buffers[_tag][index] as GPUBuffer }
    const { buffer: arena, offset, bytes } = intermediates.places.get(index) as Intermediates.Place
    return { buffer: arenas[arena] as GPUBuffer, offset, size: bytes }
  }
  const uniform = Program.uniform(program, sizes)
  const lengths = buffer(uniform.byteLength, uniform)
  // Those that these lengths take: SwiftShader spends a second or more on each.
  const taken = new Set(running.map((step) => step.kernel))
  const pipelines = await Promise.all(program.kernels.map((k, i) => (taken.has(i) ? pipeline(k) : undefined)))
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  for (const step of running) {
    const kernel = program.kernels[step.kernel] as Program.Kernel
    pass.setPipeline(pipelines[step.kernel] as GPUComputePipeline)
    const entries = step.buffers.map((r, i) => ({
      binding: i + 1,
      resource: bindingOf(r)
    }))
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout: layout(kernel),
        entries: [{ binding: 0, resource: { buffer: lengths } }, ...entries]
      })
    )
    pass.dispatchWorkgroups(...Program.dispatchSize(Size.evaluate(kernel.workgroups, sizes), limits))
  }
  pass.end()
  const reads = program.outputs.map((o, i) => {
    const size = bytesOf(o)
    const host = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    encoder.copyBufferToBuffer(buffers.output[i] as GPUBuffer, 0, host, 0, size)
    made.push(host)
    return host
  })
  device.queue.submit([encoder.finish()])
  const results: Array<HostArray> = []
  for (const [i, host] of reads.entries()) {
    const { type } = program.outputs[i] as Program.Output
    await host.mapAsync(GPUMapMode.READ)
    results.push(fromDevice(type.dtype, Shape.evaluate(type.shape, sizes), host.getMappedRange().slice(0)))
  }
  for (const b of made) b.destroy()
  return results
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

/** What every device offers, for both kinds of kernels, without and with f16 arithmetic. */
export const variants: ReadonlyArray<readonly [name: string, limits: Limits.Limits]> = (
  ["gpu", "cpu"] as const
).flatMap((kind) =>
  [false, true].map(
    (shaderF16) =>
      [`${kind}${shaderF16 ? " with f16" : ""}`, { ...Limits.portable, kind, shaderF16 }] as const
  )
)

/** Kernels that the front end has seen, by what it sees of them: programs share many. */
const validated = new Map<string, Promise<GPUComputePipeline>>()

/** Compiles every kernel with Dawn's compiler front end, which sees all features; runs nothing. Rejects with its message. */
export const validate = async (program: Program.Program): Promise<void> => {
  const device = await nullDevice()
  const valid = (kernel: Program.Kernel): Promise<GPUComputePipeline> => {
    const text = `${kernel.bindings.map((b) => b.access).join(",")}\n${kernel.wgsl}`
    const made = validated.get(text) ?? compile(device, kernel)
    validated.set(text, made)
    return made
  }
  await Promise.all(program.kernels.map(valid))
}
