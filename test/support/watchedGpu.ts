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
  readonly pipelines: () => number
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

  const watch = (device: GPUDevice): GPUDevice => {
    const { queue } = device
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
    uncaptured
  }
}

/** Runs an effect on the watched GPU, under a layer of its own that closes afterwards. */
export const on = <A, E>(watched: Watched, effect: Effect.Effect<A, E, Backend>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, WebGpu.layerWith({ gpu: watched.gpu })))
