import { Effect, Layer } from "effect"
import { Backend } from "../backends/Backend.ts"
import { UnsupportedByDevice } from "../backends/errors.ts"
import { type OpenOptions, openDevice } from "../backends/webgpu/runtime/openDevice.ts"
import { type DawnOptions, openDawn } from "./webgpu/dawn.ts"

export interface Options extends OpenOptions, DawnOptions {
  /** The WebGPU implementation to use instead of `navigator.gpu` or Dawn. */
  readonly gpu?: GPU
}

const noWebGpu = (message: string): UnsupportedByDevice =>
  new UnsupportedByDevice({
    message,
    hint: "in Node install the package `webgpu`; in a browser use a secure context (https or localhost) and one that has WebGPU; or use Reference.layer (--backend reference on the command line)"
  })

/** `navigator.gpu` of a browser or Deno; Dawn in Node, which has none. */
const findGpu = (options: Options): Effect.Effect<GPU, UnsupportedByDevice> => {
  const own = options.gpu ?? (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu
  if (own !== undefined) return Effect.succeed(own)
  const isNode =
    typeof (globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node === "string"
  if (!isNode) return Effect.fail(noWebGpu("this runtime has no WebGPU (navigator.gpu is missing)"))
  return Effect.tryPromise({
    try: () => openDawn(options),
    catch: (cause) =>
      noWebGpu(
        `WebGPU could not be opened in Node: ${cause instanceof Error ? cause.message : String(cause)}`
      )
  })
}

/** The backend, which is loaded when somebody has a device for it: who computes elsewhere reads none of it. */
const backend = (device: GPUDevice, info: GPUAdapterInfo) =>
  Effect.flatMap(
    Effect.tryPromise({
      try: () => import("../backends/webgpu/Backend.ts"),
      catch: (cause) =>
        new UnsupportedByDevice({
          message: `the WebGPU backend could not be loaded: ${String(cause)}`,
          hint: "serve all files of the package, or of what a bundler made of it, at one place"
        })
    }),
    ({ make }) => make(device, info)
  )

/** Runs on the best WebGPU adapter there is; the layer's scope closes the device. */
export const layerWith = (options: Options): Layer.Layer<Backend, UnsupportedByDevice> =>
  Layer.effect(
    Backend,
    Effect.gen(function* () {
      const gpu = yield* findGpu(options)
      const { device, info } = yield* openDevice(gpu, options)
      return yield* backend(device, info)
    })
  )

/** Runs on the best WebGPU adapter there is: `navigator.gpu` in browsers and Deno, Dawn in Node. */
export const layer: Layer.Layer<Backend, UnsupportedByDevice> = layerWith({})

/** Runs on a device that the caller already has and keeps: it is not destroyed with the layer. */
export const layerDevice = (device: GPUDevice): Layer.Layer<Backend, UnsupportedByDevice> =>
  Layer.effect(Backend, backend(device, device.adapterInfo))
