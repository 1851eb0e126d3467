import { taskEither as TE } from "fp-ts"
import type { DeviceArray, Stats, Value } from "../backends/Backend.ts"
import type { Profile } from "../backends/Profile.ts"
import type { Bindings } from "../ir/Dim.ts"
import type { HostArray } from "../ir/HostArray.ts"
import type { Diagnostic } from "../passes/Diagnostic.ts"
import type { DeviceResult, HostResult, Inputs } from "./Compiled.ts"
import type { CompileOptions } from "./compile.ts"
import type { CompileError, RunError, UnsupportedByDevice } from "./errors.ts"
import type { JitOptions } from "./jit.ts"
import * as Promised from "./promise.ts"
import type { TensorsOf } from "./spec.ts"
import type { Tensor } from "./tensor/Tensor.ts"
import type { Returned, Signature } from "./trace.ts"
import type * as Wasm from "./Wasm.ts"
import type * as WebGpu from "./WebGpu.ts"

/** `Compiled` with `TaskEither`: nothing runs until the task is called, errors are on the left. */
export interface Callable<S extends Signature, R extends Returned> {
  (inputs: Inputs<S>): TE.TaskEither<RunError, HostResult<R>>
  /** Leaves the results on the device, until the engine is closed or `free` gives them back. */
  readonly onDevice: (inputs: Inputs<S>) => TE.TaskEither<RunError, DeviceResult<R>>
  /** Runs once and gives what each kernel took, instead of results. */
  readonly profile: (inputs: Inputs<S>) => TE.TaskEither<RunError, Profile>
  readonly explain: () => string
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly ir: (stage?: string) => string
  readonly program: string
  readonly stats: (sizes: Bindings) => Stats
}

/** `Jitted` with `TaskEither`. */
export interface JitCallable<R extends Returned> {
  (inputs: { readonly [name: string]: Value }): TE.TaskEither<CompileError | RunError, HostResult<R>>
  readonly compilations: () => number
  readonly cached: () => number
}

/** An open backend for code in the style of fp-ts. */
export interface Engine {
  readonly description: string
  readonly compile: <const S extends Signature, const R extends Returned>(
    fn: (inputs: TensorsOf<S>) => R,
    signature: S,
    options?: CompileOptions
  ) => TE.TaskEither<CompileError, Callable<S, R>>
  /** Takes its signature from the first call. */
  readonly jit: <const R extends Returned>(
    fn: (inputs: { readonly [name: string]: Tensor }) => R,
    options?: JitOptions
  ) => JitCallable<R>
  readonly upload: (array: HostArray) => TE.TaskEither<RunError, DeviceArray>
  readonly download: (array: DeviceArray) => TE.TaskEither<RunError, HostArray>
  readonly free: (...arrays: ReadonlyArray<DeviceArray>) => TE.TaskEither<never, void>
  readonly close: TE.TaskEither<never, void>
}

/** The promises of an engine reject with the errors that Effect types; `E` says which. */
const task = <E, A>(run: () => Promise<A>): TE.TaskEither<E, A> => TE.tryCatch(run, (cause) => cause as E)

const callable = <S extends Signature, R extends Returned>(
  compiled: Promised.Callable<S, R>
): Callable<S, R> =>
  Object.assign((inputs: Inputs<S>) => task<RunError, HostResult<R>>(() => compiled(inputs)), {
    onDevice: (inputs: Inputs<S>) => task<RunError, DeviceResult<R>>(() => compiled.onDevice(inputs)),
    profile: (inputs: Inputs<S>) => task<RunError, Profile>(() => compiled.profile(inputs)),
    explain: compiled.explain,
    diagnostics: compiled.diagnostics,
    ir: compiled.ir,
    program: compiled.program,
    stats: compiled.stats
  })

const jitCallable = <R extends Returned>(jitted: Promised.JitCallable<R>): JitCallable<R> =>
  Object.assign(
    (inputs: { readonly [name: string]: Value }) =>
      task<CompileError | RunError, HostResult<R>>(() => jitted(inputs)),
    { compilations: jitted.compilations, cached: jitted.cached }
  )

const engine = (open: Promised.Engine): Engine => ({
  description: open.description,
  compile: (fn, signature, options) => task(async () => callable(await open.compile(fn, signature, options))),
  jit: (fn, options) => jitCallable(open.jit(fn, options)),
  upload: (array) => task(() => open.upload(array)),
  download: (array) => task(() => open.download(array)),
  free: (...arrays) => task(() => open.free(...arrays)),
  close: task(open.close)
})

/** Opens the best WebGPU adapter there is. */
export const webgpu = (options: WebGpu.Options = {}): TE.TaskEither<UnsupportedByDevice, Engine> =>
  task(async () => engine(await Promised.webgpu(options)))

/** Opens WebAssembly. */
export const wasm = (options: Wasm.Options = {}): TE.TaskEither<UnsupportedByDevice, Engine> =>
  task(async () => engine(await Promised.wasm(options)))

/** Opens the fastest of all that are there. */
export const auto: TE.TaskEither<never, Engine> = task(async () => engine(await Promised.auto()))

/** Opens the reference interpreter. */
export const reference: TE.TaskEither<never, Engine> = task(async () => engine(await Promised.reference()))
