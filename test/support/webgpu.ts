import { Effect, Layer, Scope } from "effect"
import { Backend } from "../../backends/Backend.ts"
import * as WebGpu from "../../backends/webgpu/Backend.ts"
import { sharedDevice } from "./dawn.ts"

let opened: Promise<Layer.Layer<Backend>> | undefined

const open = async (): Promise<Layer.Layer<Backend>> => {
  const device = await sharedDevice()
  // Open as long as the worker: programs of all its tests share one cache of pipelines.
  const scope = await Effect.runPromise(Scope.make())
  const backend = WebGpu.make(device, device.adapterInfo)
  return Layer.succeed(Backend, await Effect.runPromise(Effect.provideService(backend, Scope.Scope, scope)))
}

/** WebGPU on the worker's shared device, opened once. */
export const sharedLayer = (): Promise<Layer.Layer<Backend>> => {
  opened ??= open()
  return opened
}
