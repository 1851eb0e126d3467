import type { DType } from "../../../ir/DType.ts"
import type { DeviceArray } from "../../Backend.ts"
import { InvalidArray } from "../../errors.ts"
import type { Owned } from "../../Owner.ts"

/** A tensor in the memory of a backend. */
export interface DeviceTensor extends DeviceArray, Owned {
  /** The backend that made it: addresses never meet another memory. */
  readonly owner: object
  /** Undefined once its memory went back, or to a call that it was donated to. */
  readonly address: () => number | undefined
  /** The memory is not this array's any more: a call took it. */
  readonly give: () => void
  /** A call reads the array: closing it waits until the call lets go. */
  readonly hold: () => void
  readonly letGo: () => void
  readonly held: () => boolean
  /** The scope ends, or somebody frees it: the memory goes back unless a call has taken it. */
  readonly close: () => void
}

export const make = (
  owner: object,
  dtype: DType,
  shape: ReadonlyArray<number>,
  address: number,
  release: (address: number) => void
): DeviceTensor => {
  let here = true
  let readers = 0
  let owed = false
  let told: () => void = () => {}
  return {
    _tag: "DeviceArray",
    backend: "wasm",
    owner,
    dtype,
    shape,
    address: () => (here ? address : undefined),
    give: () => {
      here = false
      told()
    },
    whenGone: (then) => {
      told = then
    },
    hold: () => {
      readers++
    },
    letGo: () => {
      readers--
      if (readers > 0 || !owed) return
      owed = false
      release(address)
    },
    held: () => readers > 0,
    close: () => {
      if (here && readers === 0) release(address)
      else owed ||= here
      here = false
      told()
    }
  }
}

/** Whether this backend made the array. */
export const isOf = (owner: object, array: DeviceArray): array is DeviceTensor =>
  (array as Partial<DeviceTensor>).owner === owner

/** The address of an array that a caller passes, called `what`. Throws InvalidArray where it is not usable here. */
export const addressOf = (owner: object, array: DeviceArray, what: () => string): number => {
  if (!isOf(owner, array)) {
    throw new InvalidArray({
      message: `${what()} lives on another device (${array.backend})`,
      hint: "download it there and pass the host array"
    })
  }
  const address = array.address()
  if (address === undefined) {
    throw new InvalidArray({
      message: `${what()} is gone: its scope has closed, or a call it was donated to has consumed it`,
      hint: "keep the scope open as long as the array is used, use what that call returned, or do not donate it"
    })
  }
  return address
}
