import { Data } from "effect"
import { told, type What } from "../ir/errors.ts"

interface Failure {
  /** What happened and where. */
  readonly message: string
  /** What to try. */
  readonly hint?: string
}

/** The device lacks something the program needs: an adapter, a dtype, a size of binding. Nothing has run. */
export class UnsupportedByDevice extends Data.TaggedError("UnsupportedByDevice")<Failure & What> {
  constructor(failure: Failure) {
    super(told(failure))
  }
}

/** The device, or a thread of it, went away. What was on a device is lost; open a new one. */
export class DeviceLost extends Data.TaggedError("DeviceLost")<Failure & What> {
  constructor(failure: Failure) {
    super(told(failure))
  }
}

/** An allocation beyond the limits or the memory of the device. Names the tensor, its bytes and the limit. */
export class OutOfMemory extends Data.TaggedError("OutOfMemory")<
  Failure & { readonly bytes: number } & What
> {
  constructor(failure: Failure & { readonly bytes: number }) {
    super(told(failure))
  }
}

/** A device array used after its scope closed, on another backend, or after it was donated. */
export class InvalidArray extends Data.TaggedError("InvalidArray")<Failure & What> {
  constructor(failure: Failure) {
    super(told(failure))
  }
}

/** The backend's own compiler refused code that Effuse generated, or it trapped: a defect of Effuse, reported with the code. */
export class KernelError extends Data.TaggedError("KernelError")<
  Failure & { readonly source: string } & What
> {
  constructor(failure: Failure & { readonly source: string }) {
    super(told(failure))
  }
}

export type BackendError = UnsupportedByDevice | DeviceLost | OutOfMemory | InvalidArray | KernelError
