import { Layer } from "effect"
import { Backend } from "../backends/Backend.ts"
import type { UnsupportedByDevice } from "../backends/errors.ts"
import * as WasmBackend from "../backends/wasm/Backend.ts"

/** Runs on WebAssembly, on this thread: no device, nothing to install. */
export const layer: Layer.Layer<Backend, UnsupportedByDevice> = Layer.effect(Backend, WasmBackend.make())
