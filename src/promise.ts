import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Backend, type DeviceArray, type Stats, type Value } from "../backends/Backend.ts"
import type { Profile } from "../backends/Profile.ts"
import type { Bindings } from "../ir/Dim.ts"
import type { HostArray } from "../ir/HostArray.ts"
import type { Diagnostic } from "../passes/Diagnostic.ts"
import type { Explanation } from "../passes/explain.ts"
import * as Auto from "./Auto.ts"
import { isDeviceArray } from "./argument.ts"
import type { Compiled, DeviceResult, HostResult, Inputs } from "./Compiled.ts"
import { type CompileOptions, compile } from "./compile.ts"
import { DeviceLost, type UnsupportedByDevice } from "./errors.ts"
import { type JitOptions, jit } from "./jit.ts"
import * as Reference from "./Reference.ts"
import type { TensorsOf } from "./spec.ts"
import type { Tensor } from "./tensor/Tensor.ts"
import type { Returned, Signature } from "./trace.ts"
import { download, free, upload } from "./transfer.ts"
import * as Wasm from "./Wasm.ts"
import * as WebGpu from "./WebGpu.ts"

/** `Compiled` with promises. They reject with the same tagged errors. */
export interface Callable<S extends Signature, R extends Returned> {
  (inputs: Inputs<S>): Promise<HostResult<R>>
  /** Leaves the results on the device, until the engine is closed or `engine.free` gives them back. */
  readonly onDevice: (inputs: Inputs<S>) => Promise<DeviceResult<R>>
  /** Runs once and gives what each kernel took, instead of results. */
  readonly profile: (inputs: Inputs<S>) => Promise<Profile>
  readonly explain: () => string
  readonly explanation: () => Explanation
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly ir: (stage?: string) => string
  readonly program: string
  readonly stats: (sizes: Bindings) => Stats
}

/** `Jitted` with promises. */
export interface JitCallable<R extends Returned> {
  (inputs: { readonly [name: string]: Value }): Promise<HostResult<R>>
  readonly compilations: () => number
  readonly cached: () => number
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
  /** Takes its signature from the first call. */
  readonly jit: <const R extends Returned>(
    fn: (inputs: { readonly [name: string]: Tensor }) => R,
    options?: JitOptions
  ) => JitCallable<R>
  readonly upload: (array: HostArray) => Promise<DeviceArray>
  readonly download: (array: DeviceArray) => Promise<HostArray>
  /** Gives back device arrays before the engine is closed. Those that are gone already are left alone. */
  readonly free: (...arrays: ReadonlyArray<DeviceArray>) => Promise<void>
  /** Frees everything, the device included. */
  readonly close: () => Promise<void>
}

const open = async (layer: Layer.Layer<Backend, UnsupportedByDevice>): Promise<Engine> => {
  const engine = Scope.makeUnsafe()
  let closed = false
  const context = await Effect.runPromise(
    Effect.onExit(Layer.buildWithScope(layer, engine), (exit) =>
      Exit.isFailure(exit) ? Scope.close(engine, exit) : Effect.void
    )
  )
  const backend = Context.get(context, Backend)

  const run = <A, E>(effect: Effect.Effect<A, E, Backend>): Promise<A> =>
    Effect.runPromise<A, E | DeviceLost>(
      closed
        ? Effect.fail(new DeviceLost({ message: "the engine is closed", hint: "open another one" }))
        : Effect.provide(effect, context)
    )

  // Arrays that one call made, and the scope that owns them: it closes with the last of them.
  const owners = new WeakMap<DeviceArray, { readonly scope: Scope.Closeable; alive: number }>()
  const owning = <A>(
    make: Effect.Effect<A, unknown, Scope.Scope | Backend>,
    arraysOf: (made: A) => ReadonlyArray<DeviceArray>
  ): Promise<A> =>
    run(
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const made = yield* Effect.onExit(Scope.provide(make, scope), (exit) =>
          Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void
        )
        const arrays = arraysOf(made)
        const owner = { scope, alive: arrays.length }
        for (const array of arrays) owners.set(array, owner)
        return made
      })
    )

  return {
    description: backend.description,
    compile: async (fn, signature, options) =>
      callable(await run(compile(fn, signature, options)), run, owning),
    jit: (fn, options) => {
      const jitted = jit(fn, options)
      const { compilations, cached } = jitted
      return Object.assign((inputs: { readonly [name: string]: Value }) => run(jitted(inputs)), {
        compilations,
        cached
      })
    },
    upload: (array) => owning(upload(array), (made) => [made]),
    download: (array) => run(download(array)),
    free: async (...arrays) => {
      for (const array of arrays) {
        const owner = owners.get(array)
        if (owner === undefined || !owners.delete(array)) continue
        if (!closed) await run(free(array))
        owner.alive--
        if (owner.alive === 0) await Effect.runPromise(Scope.close(owner.scope, Exit.void))
      }
    },
    close: async () => {
      closed = true
      await Effect.runPromise(Scope.close(engine, Exit.void))
    }
  }
}

const callable = <S extends Signature, R extends Returned>(
  compiled: Compiled<S, R>,
  run: <A, E>(effect: Effect.Effect<A, E>) => Promise<A>,
  owning: <A>(
    make: Effect.Effect<A, unknown, Scope.Scope | Backend>,
    arraysOf: (made: A) => ReadonlyArray<DeviceArray>
  ) => Promise<A>
): Callable<S, R> =>
  Object.assign((inputs: Inputs<S>) => run(compiled(inputs)), {
    onDevice: (inputs: Inputs<S>) =>
      owning(compiled.onDevice(inputs), (made) =>
        isDeviceArray(made) ? [made] : Object.values<DeviceArray>(made)
      ),
    profile: (inputs: Inputs<S>) => run(compiled.profile(inputs)),
    explain: compiled.explain,
    explanation: compiled.explanation,
    diagnostics: compiled.diagnostics,
    ir: compiled.ir,
    program: compiled.program,
    stats: compiled.stats
  })

/** Opens the best WebGPU adapter there is. */
export const webgpu = (options: WebGpu.Options = {}): Promise<Engine> => open(WebGpu.layerWith(options))

/** Opens WebAssembly. */
export const wasm = (options: Wasm.Options = {}): Promise<Engine> => open(Wasm.layerWith(options))

/** Opens the fastest of all that are there. */
export const auto = (): Promise<Engine> => open(Auto.layer)

/** Opens the reference interpreter. */
export const reference = (options: Reference.Options = {}): Promise<Engine> =>
  open(Reference.layerWith(options))
