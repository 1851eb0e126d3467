import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Backend, type BackendShape } from "../backends/Backend.ts"
import * as Reference from "./Reference.ts"
import * as Wasm from "./Wasm.ts"
import * as WebGpu from "./WebGpu.ts"

/** Opens a backend for as long as the scope is open. */
const open = <E>(layer: Layer.Layer<Backend, E>, scope: Scope.Scope): Effect.Effect<BackendShape, E> =>
  Effect.map(Layer.buildWithScope(layer, scope), (context) => Context.get(context, Backend))

/** The backend, which says of itself why it was taken. */
const because = (backend: BackendShape, ...reasons: ReadonlyArray<string>): BackendShape => ({
  ...backend,
  get description() {
    return [backend.description, ...reasons].join("; ")
  }
})

/**
 * Runs where programs run fastest here: on a WebGPU adapter that is hardware, else on WebAssembly, else in plain JavaScript. The
 * backend's description says which, and why not the others.
 */
export const layer: Layer.Layer<Backend> = Layer.effect(
  Backend,
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const own = yield* Scope.fork(scope)
    const gpu = yield* Effect.result(open(WebGpu.layer, own))
    if (gpu._tag === "Success" && gpu.success.limits.kind === "gpu")
      return because(gpu.success, "the WebGPU adapter is hardware")
    yield* Scope.close(own, Exit.void)
    const noGpu =
      gpu._tag === "Failure" ? gpu.failure.what : `the WebGPU adapter is software: ${gpu.success.description}`
    const wasm = yield* Effect.result(open(Wasm.layer, scope))
    if (wasm._tag === "Success") return because(wasm.success, noGpu)
    return because(yield* open(Reference.layer, scope), noGpu, wasm.failure.what)
  })
)
