import { Effect, Exit, type Layer, ManagedRuntime, Scope } from "effect"
import { Backend, type DeviceArray, type Stats } from "../backends/Backend.ts"
import type { Bindings } from "../ir/Dim.ts"
import type { HostArray } from "../ir/HostArray.ts"
import type { Diagnostic } from "../passes/Diagnostic.ts"
import type { Compiled, DeviceResult, HostResult, Inputs } from "./Compiled.ts"
import { type CompileOptions, compile } from "./compile.ts"
import type { UnsupportedByDevice } from "./errors.ts"
import * as Reference from "./Reference.ts"
import type { TensorsOf } from "./spec.ts"
import type { Returned, Signature } from "./trace.ts"
import * as WebGpu from "./WebGpu.ts"

/** `Compiled` with promises. They reject with the same tagged errors. */
export interface Callable<S extends Signature, R extends Returned> {
  (inputs: Inputs<S>): Promise<HostResult<R>>
  /** Leaves the results on the device, until the engine is closed or `engine.free` gives them back. */
  readonly onDevice: (inputs: Inputs<S>) => Promise<DeviceResult<R>>
  readonly explain: () => string
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly ir: (stage?: string) => string
  readonly program: string
  readonly stats: (sizes: Bindings) => Stats
}

/** An open backend for code that does not use Effect. */
export interface Engine {
  /** Name of the backend and what its device can do. */
  readonly description: string
  readonly compile: <const S extends Signature, const R extends Returned>(
    fn: (inputs: TensorsOf<S>) => R,
    signature: S,
    options?: CompileOptions
  ) => Promise<Callable<S, R>>
  readonly upload: (array: HostArray) => Promise<DeviceArray>
  readonly download: (array: DeviceArray) => Promise<HostArray>
  /** Gives back device arrays before the engine is closed. */
  readonly free: (...arrays: ReadonlyArray<DeviceArray>) => Promise<void>
  /** Frees everything, the device included. */
  readonly close: () => Promise<void>
}

const open = async (layer: Layer.Layer<Backend, UnsupportedByDevice>): Promise<Engine> => {
  const runtime = ManagedRuntime.make(layer)
  const backend = await runtime.runPromise(Effect.service(Backend))
  // One scope an array, so that each can be given back on its own.
  const scopes = new Map<DeviceArray, Scope.Closeable>()
  const owning = <A extends object>(make: Effect.Effect<A, unknown, Scope.Scope | Backend>): Promise<A> =>
    runtime.runPromise(
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const made = yield* Effect.onExit(Scope.provide(make, scope), (exit) =>
          Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void
        )
        const arrays =
          "_tag" in made ? [made as unknown as DeviceArray] : (Object.values(made) as Array<DeviceArray>)
        for (const array of arrays) scopes.set(array, scope)
        return made
      })
    )
  return {
    description: backend.description,
    compile: async (fn, signature, options) => {
      const compiled = await runtime.runPromise(compile(fn, signature, options))
      return callable(compiled, (e) => runtime.runPromise(e), owning)
    },
    upload: (array) => owning(backend.upload(array)),
    download: (array) => runtime.runPromise(backend.download(array)),
    free: async (...arrays) => {
      for (const array of arrays) {
        const scope = scopes.get(array)
        scopes.delete(array)
        if (scope !== undefined) await runtime.runPromise(Scope.close(scope, Exit.void))
      }
    },
    close: async () => {
      for (const scope of new Set(scopes.values())) await runtime.runPromise(Scope.close(scope, Exit.void))
      scopes.clear()
      await runtime.dispose()
    }
  }
}

const callable = <S extends Signature, R extends Returned>(
  compiled: Compiled<S, R>,
  run: <A, E>(effect: Effect.Effect<A, E>) => Promise<A>,
  owning: <A extends object>(make: Effect.Effect<A, unknown, Scope.Scope | Backend>) => Promise<A>
): Callable<S, R> =>
  Object.assign((inputs: Inputs<S>) => run(compiled(inputs)), {
    onDevice: (inputs: Inputs<S>) =>
      owning(compiled.onDevice(inputs) as Effect.Effect<DeviceResult<R> & object, unknown, Scope.Scope>),
    explain: compiled.explain,
    diagnostics: compiled.diagnostics,
    ir: compiled.ir,
    program: compiled.program,
    stats: compiled.stats
  })

/** Opens the best WebGPU adapter there is. */
export const webgpu = (options: WebGpu.Options = {}): Promise<Engine> => open(WebGpu.layerWith(options))

/** Opens the reference interpreter. */
export const reference = (): Promise<Engine> => open(Reference.layer)
