import type { HostArray } from "../../ir/HostArray.ts"
import type { DeviceArray, Value } from "../Backend.ts"
import { InvalidArray } from "../errors.ts"

type State = { readonly state: "alive"; readonly array: HostArray } | { readonly state: "closed" | "donated" }

/** The "device" memory of the reference: what its device arrays stand for, as long as their scope is open. */
export interface Memory {
  readonly hold: (array: HostArray) => DeviceArray
  /** Throws `InvalidArray` for an array that is gone or that another backend made. */
  readonly read: (value: Value) => HostArray
  readonly release: (array: DeviceArray, why: "closed" | "donated") => void
  readonly alive: () => number
}

const gone = {
  closed: {
    message: "a device array was used after its scope had closed",
    hint: "use it inside the scope that made it, or download it first"
  },
  donated: {
    message: "a device array was used after it had been donated to a call",
    hint: "use what the call returned, or do not donate"
  }
} as const

export const make = (): Memory => {
  const states = new WeakMap<DeviceArray, State>()
  let alive = 0
  return {
    hold: (array) => {
      const held: DeviceArray = {
        _tag: "DeviceArray",
        dtype: array.dtype,
        shape: array.shape,
        backend: "reference"
      }
      states.set(held, { state: "alive", array })
      alive++
      return held
    },
    read: (value) => {
      if (!("_tag" in value)) return value
      const known = states.get(value)
      if (known === undefined) {
        throw new InvalidArray({
          message: `a device array of the ${value.backend} backend was given to a reference backend that did not make it`,
          hint: "download it from its own backend first"
        })
      }
      if (known.state !== "alive") throw new InvalidArray(gone[known.state])
      return known.array
    },
    release: (array, why) => {
      if (states.get(array)?.state !== "alive") return
      states.set(array, { state: why })
      alive--
    },
    alive: () => alive
  }
}
