import { Effect } from "effect"
import type { Backend } from "../../backends/Backend.ts"
import * as WebGpu from "../../src/WebGpu.ts"
import { adapterOf, sharedGpu } from "./dawn.ts"

/** What a backend does to its device, counted at the device's own methods. */
export interface Watched {
  /** Give this to `WebGpu.layerWith`. */
  readonly gpu: GPU
  /** The device that was opened last. */
  readonly device: () => GPUDevice
  readonly submits: () => number
  readonly buffersCreated: () => number
  /** Buffers created and not destroyed, whatever they are for. */
  readonly buffersAlive: () => number
  /** Bytes of these. */
  readonly bytesAlive: () => number
  readonly pipelines: () => number
  /** How often a method was called of the device, its queue, its encoders or their passes, such as `dispatchWorkgroups`. */
  readonly calls: (method: string) => number
  /** What a caller without error scopes would be told. */
  readonly uncaptured: ReadonlyArray<string>
}

/**
 * The software GPU, watched. `limits` stand in place of the device's own: a device has at least the limits that the standard
 * guarantees, which a test would need large arrays to reach.
 */
export const watchedGpu = async (limits: Readonly<Record<string, number>> = {}): Promise<Watched> => {
  const gpu = await sharedGpu()
  const uncaptured: Array<string> = []
  let opened: GPUDevice | undefined
  let [submits, pipelines, created] = [0, 0, 0]
  const alive = new Set<GPUBuffer>()
  const counts = new Map<string, number>()

  /** Counts calls of every method of an object, and of what its methods `more` return. */
  const counted = <T extends object>(object: T, more: ReadonlyArray<string> = []): T => {
    const names = Object.getOwnPropertyNames(Object.getPrototypeOf(object))
    for (const name of names) {
      const method = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(object), name)?.value
      if (typeof method !== "function" || name === "constructor") continue
      Object.defineProperty(object, name, {
        configurable: true,
        writable: true,
        value: (...args: ReadonlyArray<unknown>) => {
          counts.set(name, (counts.get(name) ?? 0) + 1)
          const result: unknown = method.apply(object, args)
          return more.includes(name) ? counted(result as object, ["beginComputePass"]) : result
        }
      })
    }
    return object
  }

  const watch = (device: GPUDevice): GPUDevice => {
    const queue = counted(device.queue)
    Object.defineProperty(device, "queue", { value: queue })
    counted(device, ["createCommandEncoder"])
    const own = device.limits
    Object.defineProperty(device, "limits", {
      value: new Proxy(own, {
        get: (_, name) => limits[String(name)] ?? own[name as keyof GPUSupportedLimits]
      })
    })
    const createBuffer = device.createBuffer.bind(device)
    const createPipeline = device.createComputePipelineAsync.bind(device)
    const submit = queue.submit.bind(queue)
    device.addEventListener("uncapturederror", ({ error }) => uncaptured.push(error.message))
    device.createBuffer = (descriptor) => {
      const buffer = createBuffer(descriptor)
      created++
      alive.add(buffer)
      const destroy = buffer.destroy.bind(buffer)
      buffer.destroy = () => {
        alive.delete(buffer)
        return destroy()
      }
      return buffer
    }
    device.createComputePipelineAsync = (descriptor) => {
      pipelines++
      return createPipeline(descriptor)
    }
    queue.submit = (commands) => {
      submits++
      return submit(commands)
    }
    return device
  }

  const requestAdapter = async (): Promise<GPUAdapter> => {
    const adapter = await adapterOf(gpu)
    const requestDevice = adapter.requestDevice.bind(adapter)
    adapter.requestDevice = async (descriptor) => {
      opened = watch(await requestDevice(descriptor))
      return opened
    }
    return adapter
  }

  return {
    gpu: { requestAdapter } as unknown as GPU,
    device: () => {
      if (opened === undefined) throw new Error("no device has been opened")
      return opened
    },
    submits: () => submits,
    pipelines: () => pipelines,
    buffersCreated: () => created,
    buffersAlive: () => alive.size,
    bytesAlive: () => [...alive].reduce((sum, { size }) => sum + size, 0),
    calls: (method) => counts.get(method) ?? 0,
    uncaptured
  }
}

/** Runs an effect on the watched GPU, under a layer of its own that closes afterwards. */
export const on = <A, E>(watched: Watched, effect: Effect.Effect<A, E, Backend>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, WebGpu.layerWith({ gpu: watched.gpu })))
