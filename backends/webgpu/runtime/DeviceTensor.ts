import type { DType } from "../../../ir/DType.ts"
import type { DeviceArray } from "../../Backend.ts"
import { InvalidArray } from "../../errors.ts"

/** A tensor in a storage buffer. `owner` is the backend that made it, so that buffers never meet another device. */
export interface DeviceTensor extends DeviceArray {
  readonly owner: object
  /** Undefined once the scope closed or a call consumed it. */
  readonly buffer: () => GPUBuffer | undefined
  /** Gives the buffer up, to a donated call or at the end of the scope. */
  readonly take: () => GPUBuffer | undefined
}

export const make = (
  owner: object,
  dtype: DType,
  shape: ReadonlyArray<number>,
  buffer: GPUBuffer
): DeviceTensor => {
  let held: GPUBuffer | undefined = buffer
  return {
    _tag: "DeviceArray",
    backend: "webgpu",
    owner,
    dtype,
    shape,
    buffer: () => held,
    take: () => {
      const taken = held
      held = undefined
      return taken
    }
  }
}

/** The buffer of an array that a caller passes. Throws InvalidArray where it is not usable here. */
export const bufferOf = (owner: object, array: DeviceArray, what: string): GPUBuffer => {
  if (!("owner" in array) || array.owner !== owner) {
    throw new InvalidArray({
      message: `${what} lives on another device (${array.backend})`,
      hint: "download it there and pass the host array"
    })
  }
  const buffer = (array as DeviceTensor).buffer()
  if (buffer === undefined) {
    throw new InvalidArray({
      message: `${what} is gone: its scope has closed, or a call it was donated to has consumed it`,
      hint: "keep the scope open as long as the array is used, or do not donate it"
    })
  }
  return buffer
}
