import type { Limits } from "../../../ir/Limits.ts"
import { DeviceLost, KernelError } from "../../errors.ts"
import type { Kernel } from "../Program.ts"
import * as Buffers from "./Buffers.ts"

/** One open device with what is cached for it. Buffers and pipelines never outlive it. */
export interface Session {
  readonly device: GPUDevice
  readonly limits: Limits
  readonly buffers: Buffers.Buffers
  /** The pipeline of a kernel; the same text is compiled once. Rejects with KernelError or DeviceLost. */
  readonly pipeline: (kernel: Kernel) => Promise<GPUComputePipeline>
  readonly layout: (kernel: Kernel) => GPUBindGroupLayout
  /** Pipelines created so far. */
  readonly pipelinesCreated: () => number
  /** Throws DeviceLost where the device is gone, KernelError where it reported invalid use. */
  readonly check: () => void
  /** What an operation that failed means: the loss of the device where that is the cause. */
  readonly explain: (cause: unknown) => DeviceLost | KernelError
  readonly close: () => void
}

/** Pipelines kept by content; beyond it the one unused for longest is forgotten. Programs keep their own alive. */
const keepPipelines = 1024

const compute = 0x4 // GPUShaderStage.COMPUTE

export const make = (device: GPUDevice, limits: Limits): Session => {
  const buffers = Buffers.make(device)
  const pipelines = new Map<string, Promise<GPUComputePipeline>>()
  const layouts = new Map<string, GPUBindGroupLayout>()
  let created = 0
  let gone: string | undefined
  let invalid: string | undefined
  device.lost.then((info) => {
    gone ??=
      info.reason === "destroyed"
        ? "the WebGPU device was destroyed"
        : `the WebGPU device was lost: ${info.message}`
  })
  device.addEventListener("uncapturederror", (event) => {
    invalid ??= event.error.message
  })

  const lost = (message: string): DeviceLost =>
    new DeviceLost({
      message,
      hint: "open a new device: provide WebGpu.layer again; what was on the old one is gone"
    })

  const check = (): void => {
    if (gone !== undefined) throw lost(gone)
    if (invalid !== undefined) {
      const message = invalid
      invalid = undefined
      throw new KernelError({
        message: `the device refused a command: ${message}`,
        source: "",
        hint: "this is a defect of Effuse: please report it"
      })
    }
  }

  const explain = (cause: unknown): DeviceLost | KernelError => {
    if (gone !== undefined) return lost(gone)
    const message = cause instanceof Error ? cause.message : String(cause)
    // Reading from a destroyed or lost device aborts before `lost` resolves.
    if (/abort|destroy|lost|unmapped/i.test(message)) return lost(`the WebGPU device went away: ${message}`)
    return new KernelError({ message, source: "", hint: "this is a defect of Effuse: please report it" })
  }

  const layout = (kernel: Kernel): GPUBindGroupLayout => {
    const text = kernel.bindings.map((b) => b.access).join(",")
    const known = layouts.get(text)
    if (known !== undefined) return known
    const made = device.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: compute, buffer: { type: "uniform" } },
        ...kernel.bindings.map(
          (b, i): GPUBindGroupLayoutEntry => ({
            binding: i + 1,
            visibility: compute,
            buffer: { type: b.access === "read" ? "read-only-storage" : "storage" }
          })
        )
      ]
    })
    layouts.set(text, made)
    return made
  }

  const create = async (kernel: Kernel): Promise<GPUComputePipeline> => {
    created++
    device.pushErrorScope("validation")
    const module = device.createShaderModule({ label: kernel.name, code: kernel.wgsl })
    const popped = device.popErrorScope()
    try {
      return await device.createComputePipelineAsync({
        label: kernel.name,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout(kernel)] }),
        compute: { module, entryPoint: "main" }
      })
    } catch (cause) {
      if (gone !== undefined) throw lost(gone)
      const error = await popped.catch(() => null)
      throw new KernelError({
        message: `the device refused the kernel ${kernel.name}: ${error?.message ?? String(cause)}`,
        source: kernel.wgsl,
        hint: "this is a defect of Effuse: please report it with the source"
      })
    } finally {
      await popped.catch(() => null)
    }
  }

  return {
    device,
    limits,
    buffers,
    layout,
    pipeline: (kernel) => {
      const text = `${kernel.bindings.map((b) => b.access).join(",")}\n${kernel.wgsl}`
      const known = pipelines.get(text)
      // Least recently used first: a Map keeps insertion order.
      if (known !== undefined) pipelines.delete(text)
      const pipeline = known ?? create(kernel)
      pipelines.set(text, pipeline)
      if (known === undefined) {
        pipeline.catch(() => pipelines.delete(text))
        const [oldest] = pipelines.keys()
        if (pipelines.size > keepPipelines && oldest !== undefined) pipelines.delete(oldest)
      }
      return pipeline
    },
    pipelinesCreated: () => created,
    check,
    explain,
    close: () => {
      gone ??= "the scope of the WebGPU backend has closed"
      pipelines.clear()
      buffers.destroy()
    }
  }
}
