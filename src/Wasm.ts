import { Layer } from "effect"
import { Backend } from "../backends/Backend.ts"
import type { UnsupportedByDevice } from "../backends/errors.ts"
import * as WasmBackend from "../backends/wasm/Backend.ts"

export type Options = WasmBackend.Options

/** Runs on WebAssembly, on this thread; `{ relaxed: false }` without instructions whose last bit depends on the engine. */
export const layerWith = (options: Options): Layer.Layer<Backend, UnsupportedByDevice> =>
  Layer.effect(Backend, WasmBackend.make(options))

/** Runs on WebAssembly, on this thread: no device, nothing to install. */
export const layer: Layer.Layer<Backend, UnsupportedByDevice> = layerWith({})
