import type { Limits } from "../../../ir/Limits.ts"
import { DeviceLost, KernelError, OutOfMemory } from "../../errors.ts"
import * as Launch from "../Launch.ts"
import type { Kernel } from "../Program.ts"
import * as Buffers from "./Buffers.ts"
import * as Lru from "./Lru.ts"
import * as Uploads from "./Uploads.ts"

/** What the device reports about commands that it accepted at first. */
export type Failure = OutOfMemory | KernelError

/** One open device with what is cached for it. Buffers and pipelines never outlive it. */
export interface Session {
  readonly device: GPUDevice
  readonly limits: Limits
  /** Multiply-adds of one submit, see `Launch`. */
  readonly mostWork: number
  /** What kernels read and write. */
  readonly buffers: Buffers.Buffers
  /** What the host reads back. */
  readonly staging: Buffers.Buffers
  /** Where the host writes. */
  readonly uploads: Uploads.Uploads
  /** A buffer that holds this as long as somebody uses it, at most until the session closes. Rejects like `transact`. */
  readonly constant: (data: Uint8Array<ArrayBuffer>) => Promise<GPUBuffer>
  /** The pipeline of a kernel; the same text is compiled once. Rejects with KernelError or DeviceLost. */
  readonly pipeline: (kernel: Kernel) => Promise<GPUComputePipeline>
  readonly layout: (kernel: Kernel) => GPUBindGroupLayout
  /** Pipelines created so far. */
  readonly pipelinesCreated: () => number
  /** Throws DeviceLost where the device is gone, and a failure that was reported late, once. */
  readonly check: () => void
  /**
   * Runs commands and says what the device finds wrong with them. Sees no errors of others that use the device. Undefined where they made and
   * wrote nothing: commands on what went well before go well.
   */
  readonly watch: <A>(commands: () => A) => { value: A; failure: Promise<Failure | undefined> | undefined }
  /** Commands that are watched are about to make something that may fail. */
  readonly making: () => void
  /** Leaves a failure for the next `check`. */
  readonly report: (failure: Failure) => void
  /** What an operation that failed means: the loss of the device where that is the cause. */
  readonly explain: (cause: unknown) => Promise<DeviceLost | KernelError>
  readonly close: () => void
}

/** What follows from the device and from where this runs, unless a test says otherwise. */
export interface Options {
  /** Multiply-adds of one submit. */
  readonly mostWork?: number | undefined
  /** Whether the device is in another process. */
  readonly remote?: boolean
}

/** Pipelines kept by content; beyond it the one unused for longest is forgotten. Programs keep their own alive. */
const keepPipelines = 1024

const compute = 0x4 // GPUShaderStage.COMPUTE

const defect = (message: string, source = ""): KernelError =>
  new KernelError({ message, source, hint: "this is a defect of Effuse: please report it" })

export const make = (device: GPUDevice, limits: Limits, options: Options = {}): Session => {
  const { mostWork = Launch.mostWork[limits.kind], remote = Uploads.isRemote() } = options
  /** Whether what runs now is watched, and from where on. */
  let scopes: "none" | "expected" | "open" = "none"
  const making = (): void => {
    if (scopes !== "expected") return
    scopes = "open"
    device.pushErrorScope("out-of-memory")
    device.pushErrorScope("validation")
  }
  const buffers = Buffers.make(device, Buffers.forKernels, making)
  const staging = Buffers.make(device, Buffers.forReading, making)
  const uploads = Uploads.make(device, remote, making)
  const pipelines = Lru.make<string, Promise<GPUComputePipeline>>(keepPipelines)
  const layouts = new Map<string, GPUBindGroupLayout>()
  // Constants of forgotten programs may be collected: whoever runs a program holds its buffers.
  let constants: ReadonlyArray<WeakRef<GPUBuffer>> = []
  let created = 0
  let gone: string | undefined
  let late: Failure | undefined
  device.lost.then((info) => {
    gone ??=
      info.reason === "destroyed"
        ? "the WebGPU device was destroyed"
        : `the WebGPU device was lost: ${info.message}`
  })

  const lost = (message: string): DeviceLost =>
    new DeviceLost({
      message,
      hint: "open a new device: provide WebGpu.layer again; what was on the old one is gone"
    })

  const check = (): void => {
    if (gone !== undefined) throw lost(gone)
    const failure = late
    late = undefined
    if (failure !== undefined) throw failure
  }

  /** Ends the error scopes that `making` began. A device that goes away meanwhile reports nothing. */
  const reported = async (): Promise<Failure | undefined> => {
    const scopes = [device.popErrorScope(), device.popErrorScope()]
    const [validation, memory] = await Promise.all(scopes.map((scope) => scope.catch(() => null)))
    if (memory) {
      return new OutOfMemory({
        bytes: 0,
        message: `the device has no memory left: ${memory.message}`,
        hint: "use a smaller batch or length, or close scopes that hold device arrays"
      })
    }
    return validation ? defect(`the device refused a command: ${validation.message}`) : undefined
  }

  const watch: Session["watch"] = (commands) => {
    scopes = "expected"
    const end = (): Promise<Failure | undefined> | undefined => {
      const opened = scopes === "open"
      scopes = "none"
      return opened ? reported() : undefined
    }
    try {
      return { value: commands(), failure: end() }
    } catch (cause) {
      end()
      throw cause
    }
  }

  /** Waits a turn: some implementations refuse what a device cannot do that went away before they say that it did. */
  const told = (): Promise<void> => new Promise((resolve) => setTimeout(resolve))

  const explain: Session["explain"] = async (cause) => {
    await told()
    if (gone !== undefined) return lost(gone)
    // Reading from a device that goes away aborts before `lost` resolves; nothing else here aborts.
    const { name, message } =
      typeof cause === "object" && cause !== null ? (cause as Error) : { name: "", message: String(cause) }
    return name === "AbortError" ? lost("the WebGPU device went away") : defect(message)
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
    const { value, failure } = watch(() => {
      making()
      return device.createComputePipelineAsync({
        label: kernel.name,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout(kernel)] }),
        compute: {
          module: device.createShaderModule({ label: kernel.name, code: kernel.wgsl }),
          entryPoint: "main"
        }
      })
    })
    const [pipeline, error] = await Promise.all([value.catch((cause: unknown) => ({ cause })), failure])
    if (gone !== undefined) throw lost(gone)
    if (error?._tag === "OutOfMemory") throw error
    if (!("cause" in pipeline) && error === undefined) return pipeline
    await told()
    if (gone !== undefined) throw lost(gone)
    const why = error?.message ?? ("cause" in pipeline ? String(pipeline.cause) : "")
    throw defect(`the kernel ${kernel.name} does not compile: ${why}`, kernel.wgsl)
  }

  return {
    device,
    limits,
    mostWork,
    buffers,
    staging,
    uploads,
    layout,
    constant: async (data) => {
      check()
      Buffers.check(data.byteLength, "a constant", device.limits)
      const { value: buffer, failure } = watch(() => {
        making()
        const made = device.createBuffer({ size: data.byteLength, usage: Buffers.forKernels })
        device.queue.writeBuffer(made, 0, data)
        return made
      })
      const failed = await failure
      if (failed !== undefined) {
        buffer.destroy()
        throw failed
      }
      constants = [...constants.filter((ref) => ref.deref() !== undefined), new WeakRef(buffer)]
      return buffer
    },
    pipeline: (kernel) => {
      const text = `${kernel.bindings.map((b) => b.access).join(",")}\n${kernel.wgsl}`
      return pipelines.get(text, () => {
        const made = create(kernel)
        made.catch(() => pipelines.delete(text))
        return made
      })
    },
    pipelinesCreated: () => created,
    check,
    watch,
    making,
    report: (failure) => {
      late ??= failure
    },
    explain,
    close: () => {
      gone ??= "the scope of the WebGPU backend has closed"
      pipelines.clear()
      for (const ref of constants) ref.deref()?.destroy()
      buffers.destroy()
      staging.destroy()
      uploads.destroy()
    }
  }
}
