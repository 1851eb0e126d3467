import type { Effect, Scope } from "effect"
import type { DeviceArray, Stats, Value } from "../backends/Backend.ts"
import type { Profile } from "../backends/Profile.ts"
import type { Bindings } from "../ir/Dim.ts"
import type { DType } from "../ir/DType.ts"
import type { Graph } from "../ir/Graph.ts"
import type { HostArray } from "../ir/HostArray.ts"
import type { Diagnostic } from "../passes/Diagnostic.ts"
import type { Explanation } from "../passes/explain.ts"
import type { Snapshot } from "../passes/Snapshot.ts"
import type { RunError } from "./errors.ts"
import type { Tensor } from "./tensor/Tensor.ts"
import type { Returned, Signature } from "./trace.ts"

/** Arguments of a call, by name: host arrays or device arrays. */
export type Inputs<S extends Signature> = { readonly [K in keyof S]: Value }

type DTypeOf<T> = T extends Tensor<infer D, infer _> ? D : DType

/** Results on the host, arranged as the function returned them. */
export type HostResult<R extends Returned> =
  R extends Tensor<infer D, infer _> ? HostArray<D> : { readonly [K in keyof R]: HostArray<DTypeOf<R[K]>> }

/** Results that stay on the device, arranged as the function returned them. */
export type DeviceResult<R extends Returned> =
  R extends Tensor<infer _D, infer _S> ? DeviceArray : { readonly [K in keyof R]: DeviceArray }

/** A function made ready to run at any lengths. */
export interface Compiled<S extends Signature, R extends Returned> {
  /** Runs and reads the results back. */
  (inputs: Inputs<S>): Effect.Effect<HostResult<R>, RunError>
  /** Runs and leaves the results on the device; the scope owns them. */
  readonly onDevice: (inputs: Inputs<S>) => Effect.Effect<DeviceResult<R>, RunError, Scope.Scope>
  /**
   * Runs once and gives what each kernel took, instead of results. Arguments stay what they are, donated ones too: it is copies that are written to.
   * `Profile.byKernel` sums it up, `Profile.trace` writes it for the performance tools of browsers.
   */
  readonly profile: (inputs: Inputs<S>) => Effect.Effect<Profile, RunError>
  /** The lengths that each call brings along, by name. */
  readonly symbols: ReadonlyArray<string>
  /** What was fused, what was not and why, as text. */
  readonly explain: () => string
  /** The same as data, with what each pass did. */
  readonly explanation: () => Explanation
  readonly diagnostics: ReadonlyArray<Diagnostic>
  /**
   * The IR as text: `"traced"`, or `"after-<pass>"`, such as `"after-fuse-attention"`. Without a name, the final graph.
   * Throws a RangeError that lists the names where there is no such one.
   */
  readonly ir: (stage?: string) => string
  /** The graph at the same stages as `ir`. */
  readonly graph: (stage?: string) => Graph
  readonly snapshots: ReadonlyArray<Snapshot>
  /** What the backend runs, as text. */
  readonly program: string
  /**
   * What a call at these lengths costs, counted and not measured. Lengths by symbol: `{ B: 1, T: 512, S: 512 }`. Throws a
   * RangeError that names those that are missing.
   */
  readonly stats: (sizes: Bindings) => Stats
}
