import { Context, type Effect, type Scope } from "effect"
import type { Bindings } from "../ir/Dim.ts"
import type { DType } from "../ir/DType.ts"
import type { Graph } from "../ir/Graph.ts"
import type { HostArray } from "../ir/HostArray.ts"
import type { Limits } from "../ir/Limits.ts"
import type { MemoryPlan } from "../ir/MemoryPlan.ts"
import type { Schedules } from "../ir/Schedule.ts"
import type { BackendError } from "./errors.ts"
import type { Profile } from "./Profile.ts"

/** A tensor that lives where its backend computes. The scope that was open when it was made owns its memory. */
export interface DeviceArray {
  readonly _tag: "DeviceArray"
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  /** The backend that made it; another one refuses it. */
  readonly backend: string
}

/** What a compiled function takes: host data is uploaded for the call, device data stays where it is. */
export type Value = HostArray | DeviceArray

/** What the pipeline hands to a backend. */
export interface Plan {
  /** In the form the backend accepts; `Graph.inputs` is the order of arguments. */
  readonly graph: Graph
  readonly schedules: Schedules
  readonly memory: MemoryPlan
}

/** What one call costs, counted from the program and the sizes of the call, not measured. */
export interface Stats {
  /** Kernels dispatched. */
  readonly dispatches: number
  /** Bytes of intermediate memory, inputs and outputs not counted. */
  readonly scratchBytes: number
  /** Bytes that attention (or, unfused, the contractions and copies in its place) reads of keys and values. */
  readonly keyValueBytesRead: number
  /** Pipelines the program needs, whatever the lengths. */
  readonly pipelines: number
}

export interface RunOptions {
  /** Indices of arguments whose memory the call may overwrite; they are device arrays and are gone afterwards. */
  readonly donated: ReadonlySet<number>
}

/** A graph made ready to run at any lengths. */
export interface Executable {
  /** What will run, as text: kernels, bindings, dispatch sizes. */
  readonly program: string
  readonly stats: (sizes: Bindings) => Stats
  /** Runs once and reads the results back. Arguments as for `run`. */
  readonly call: (
    values: ReadonlyArray<Value>,
    sizes: Bindings,
    options: RunOptions
  ) => Effect.Effect<ReadonlyArray<HostArray>, BackendError>
  /**
   * Runs once. Arguments are in the order of the graph's inputs and already checked against the signature; results are device
   * arrays owned by the scope.
   */
  readonly run: (
    values: ReadonlyArray<Value>,
    sizes: Bindings,
    options: RunOptions
  ) => Effect.Effect<ReadonlyArray<DeviceArray>, BackendError, Scope.Scope>
  /**
   * Runs once and gives what each kernel took instead of results. Arguments as for `run`, but those that are donated stay what they are: it is
   * copies that are written to.
   */
  readonly profile: (
    values: ReadonlyArray<Value>,
    sizes: Bindings,
    options: RunOptions
  ) => Effect.Effect<Profile, BackendError>
}

export interface CompileOptions {
  /** Whether kernels that only some calls need are made before one does. Unless given they are. */
  readonly ahead?: boolean
}

/** The backends there are; the command line has a total table of them. */
export type BackendName = "webgpu" | "wasm" | "reference"

/** Where graphs run. A layer provides it: `WebGpu.layer`, `Reference.layer`. */
export interface BackendShape {
  readonly name: BackendName
  readonly limits: Limits
  /** Name of the device and what it can do, for people. */
  readonly description: string
  readonly compile: (plan: Plan, options?: CompileOptions) => Effect.Effect<Executable, BackendError>
  /** The kernels of a plan in the device's language, without a device: by them answers are known that were measured of others. */
  readonly source?: (plan: Plan) => string
  readonly upload: (array: HostArray) => Effect.Effect<DeviceArray, BackendError, Scope.Scope>
  readonly download: (array: DeviceArray) => Effect.Effect<HostArray, BackendError>
  /** Gives the memory of an array back before its scope closes. What is gone already is left alone. */
  readonly free: (array: DeviceArray) => Effect.Effect<void>
  /** Pipelines created since the backend was made: lengths may choose among kernels, and none is made for a length. */
  readonly pipelinesCreated: () => number
  /** Buffers that are alive: a call must not leak one. */
  readonly buffersAlive: () => number
}

export class Backend extends Context.Service<Backend, BackendShape>()("effuse/Backend") {}
