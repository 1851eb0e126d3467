import type { Case } from "../cases/cases.ts"
import type { Generation } from "../generation/model.ts"

/** What a peer is given by the process or the page it runs in. */
export interface Host {
  readonly where: "node" | "browser"
  /** Threads of this peer, where it has any. */
  readonly threads: number
  /** Whether it computes on the GPU. */
  readonly webgpu: boolean
  /** A module that `bench/package.json` names. */
  readonly load: (name: string) => Promise<never>
  /** Where a browser finds the files of a module. */
  readonly files: (name: string) => string
  /** The GPU, also as `navigator.gpu`. */
  readonly gpu: () => Promise<GPU>
}

/** A case made ready to run. */
export interface Prepared {
  /** Runs once; resolves when the result is there. Arguments and results stay where the engine computes, as far as it can. */
  readonly run: () => Promise<unknown>
  /** The last result, in the order of `shapeOf`. */
  readonly read: () => Promise<Float32Array>
  /** Kernels of a call, where the engine says. */
  readonly kernels?: number
  readonly release?: () => unknown
}

export interface Engine {
  readonly description: string
  /** Ways to write a case; the fastest correct one counts. One without a name, unless told otherwise. */
  readonly variants?: (c: Case) => ReadonlyArray<string>
  /** Rejects with `Cannot` where the engine has no way to say the case. */
  readonly prepare: (c: Case, variant: string) => Promise<Prepared>
  /** Continues a prompt with the model of `generation/`, in each way it is written; absent where nobody has written it. */
  readonly generate?: () => Promise<ReadonlyArray<Generation>>
}

/** The way that stands for a window where there is none: `causalOnly` of the case is prepared, and compared with its own result. */
export const closest = "every key before"

export type Open = (host: Host) => Promise<Engine>

/** The engine lacks what a case needs: no failure. */
export class Cannot extends Error {
  override readonly name = "Cannot"
}
