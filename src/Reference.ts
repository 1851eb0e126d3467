import { Layer } from "effect"
import { Backend } from "../backends/Backend.ts"
import * as ReferenceBackend from "../backends/reference/Backend.ts"
import type { Options } from "../backends/reference/Reference.ts"

export type { Options }

/** Runs everything in plain JavaScript; `{ precision: "f64" }` computes in float64 and rounds the results only. */
export const layerWith = (options: Options): Layer.Layer<Backend> =>
  Layer.sync(Backend, () => ReferenceBackend.make(options))

/** Runs everything in plain JavaScript: slow and obvious, what the other backends are tested against. */
export const layer: Layer.Layer<Backend> = layerWith({})
