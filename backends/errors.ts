import { Data } from "effect"

interface Failure {
  /** What happened and where. */
  readonly message: string
  /** What to try. */
  readonly hint?: string
}

/** The device lacks something the program needs: an adapter, a dtype, a size of binding. Nothing has run. */
export class UnsupportedByDevice extends Data.TaggedError("UnsupportedByDevice")<Failure> {}

/** The device went away. What was on it is lost; open a new one. */
export class DeviceLost extends Data.TaggedError("DeviceLost")<Failure> {}

/** An allocation beyond the limits or the memory of the device. Names the tensor, its bytes and the limit. */
export class OutOfMemory extends Data.TaggedError("OutOfMemory")<Failure & { readonly bytes: number }> {}

/** A device array used after its scope closed, on another backend, or after it was donated. */
export class InvalidArray extends Data.TaggedError("InvalidArray")<Failure> {}

/** The backend's own compiler refused code that Effuse generated: a defect of Effuse, reported with the code. */
export class KernelError extends Data.TaggedError("KernelError")<Failure & { readonly source: string }> {}

export type BackendError = UnsupportedByDevice | DeviceLost | OutOfMemory | InvalidArray | KernelError
