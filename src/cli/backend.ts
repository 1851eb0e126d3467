import { Effect, Layer, type Option } from "effect"
import { Backend, type BackendName } from "../../backends/Backend.ts"
import type { UnsupportedByDevice } from "../../backends/errors.ts"
import * as Limits from "../../ir/Limits.ts"
import * as Auto from "../Auto.ts"
import * as Reference from "../Reference.ts"
import * as Wasm from "../Wasm.ts"
import * as WebGpu from "../WebGpu.ts"
import type { CliFailure } from "./CliFailure.ts"
import { orFail } from "./fromError.ts"
import type { Io } from "./Io.ts"

/** How each backend is opened. */
const layers: { readonly [Name in BackendName]: Layer.Layer<Backend, UnsupportedByDevice> } = {
  webgpu: WebGpu.layer,
  wasm: Wasm.layer,
  reference: Reference.layer
}

export const backendNames = Object.keys(layers) as ReadonlyArray<BackendName>

/** The backend that is asked for; unasked, the fastest of all that are there, whose description says why. */
const layerOf = (choice: Option.Option<BackendName>): Layer.Layer<Backend, CliFailure, Io> =>
  choice._tag === "Some" ? Layer.unwrap(opened(choice.value)) : Auto.layer

const opened = (name: BackendName) =>
  Effect.gen(function* () {
    return Layer.succeedContext(yield* orFail(Layer.build(layers[name])))
  })

/** Runs with a backend and closes it afterwards. */
export const withBackend =
  (choice: Option.Option<BackendName>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provide(effect, layerOf(choice))

export interface LimitFlags {
  readonly limits: "portable" | "device"
  readonly f16: boolean
}

/** The limits that schedules are chosen for: the specification's, or those of the adapter here. */
export const limitsOf = (flags: LimitFlags): Effect.Effect<Limits.Limits, CliFailure, Io> =>
  Effect.gen(function* () {
    const base =
      flags.limits === "portable"
        ? Limits.portable
        : yield* Effect.provide(
            Effect.map(Backend, (b) => b.limits),
            Layer.unwrap(opened("webgpu"))
          )
    return { ...base, shaderF16: base.shaderF16 || flags.f16 }
  })
