import { Layer } from "effect"
import { Backend } from "../backends/Backend.ts"
import * as ReferenceBackend from "../backends/reference/Backend.ts"

/** Runs everything in plain JavaScript: slow and obvious, what the other backends are tested against. */
export const layer: Layer.Layer<Backend> = Layer.sync(Backend, ReferenceBackend.make)
