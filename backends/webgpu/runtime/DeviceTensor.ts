import type { DType } from "../../../ir/DType.ts"
import type { DeviceArray } from "../../Backend.ts"
import { InvalidArray } from "../../errors.ts"
import type { Owned } from "../../Owner.ts"

/** A tensor in a storage buffer. `owner` is the backend that made it, so that buffers never meet another device. */
export interface DeviceTensor extends DeviceArray, Owned {
  readonly owner: object
  /** Undefined once the scope closed, or while or after a call has it as a donation. */
  readonly buffer: () => GPUBuffer | undefined
  /** A call borrows the buffer, and keeps it when the call succeeds: nobody else may use it meanwhile. */
  readonly lend: () => void
  /** Ends the loan: the call kept the buffer, or failed and gives it back. */
  readonly settle: (kept: boolean) => void
  /** The scope ends: the buffer goes back to the pool, unless a call has it. */
  readonly close: () => void
}

export const make = (
  owner: object,
  dtype: DType,
  shape: ReadonlyArray<number>,
  buffer: GPUBuffer,
  release: (buffer: GPUBuffer) => void
): DeviceTensor => {
  let state: "here" | "lent" | "gone" = "here"
  let closed = false
  let told: () => void = () => {}
  const end = (): void => {
    if (state !== "here" || !closed) return
    state = "gone"
    release(buffer)
    told()
  }
  return {
    _tag: "DeviceArray",
    backend: "webgpu",
    owner,
    dtype,
    shape,
    buffer: () => (state === "here" ? buffer : undefined),
    lend: () => {
      state = "lent"
    },
    settle: (kept) => {
      state = kept ? "gone" : "here"
      if (kept) told()
      else end()
    },
    whenGone: (then) => {
      told = then
    },
    close: () => {
      closed = true
      end()
    }
  }
}

/** Whether this backend made the array. */
export const isOf = (owner: object, array: DeviceArray): array is DeviceTensor =>
  (array as Partial<DeviceTensor>).owner === owner

/** The buffer of an array that a caller passes. Throws InvalidArray where it is not usable here. */
export const bufferOf = (owner: object, array: DeviceArray, what: string): GPUBuffer => {
  if (!isOf(owner, array)) {
    throw new InvalidArray({
      message: `${what} lives on another device (${array.backend})`,
      hint: "download it there and pass the host array"
    })
  }
  const buffer = array.buffer()
  if (buffer === undefined) {
    throw new InvalidArray({
      message: `${what} is gone: its scope has closed, or a call it was donated to has consumed it`,
      hint: "keep the scope open as long as the array is used, use what that call returned, or do not donate it"
    })
  }
  return buffer
}
