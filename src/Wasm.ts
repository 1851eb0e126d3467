import { Layer } from "effect"
import { Backend } from "../backends/Backend.ts"
import type { UnsupportedByDevice } from "../backends/errors.ts"
import * as WasmBackend from "../backends/wasm/Backend.ts"

export type Options = WasmBackend.Options

/**
 * Runs on WebAssembly: `{ threads: 1 }` on this thread only, `{ relaxed: false }` without instructions whose last bit depends on the engine,
 * `{ simd: false }` without vectors, as engines do that have none.
 */
export const layerWith = (options: Options): Layer.Layer<Backend, UnsupportedByDevice> =>
  Layer.effect(Backend, WasmBackend.make(options))

/** Runs on WebAssembly, on as many threads as run at the same time: no device, nothing to install. The layer's scope ends the threads. */
export const layer: Layer.Layer<Backend, UnsupportedByDevice> = layerWith({})
