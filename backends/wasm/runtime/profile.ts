import type { Value } from "../../Backend.ts"
import type { Profile } from "../../Profile.ts"
import * as Stopwatch from "../../stopwatch.ts"
import * as DeviceTensor from "./DeviceTensor.ts"
import { type Call, type Loaded, start } from "./execute.ts"
import type { Session } from "./Session.ts"
import { storageBytes } from "./transfer.ts"

/** One call of which each kernel is timed; it gives no results. Arguments that are donated stay: it takes copies of them. */
export function* profile(session: Session, loaded: Loaded, call: Call): Generator<void, Profile> {
  const { heap } = session
  const copies: Array<DeviceTensor.DeviceTensor> = []
  const stopwatch = Stopwatch.make()
  try {
    const values = call.values.map((value, i) => {
      if (!("_tag" in value && call.options.donated.has(i))) return value
      const copy = copied(session, value, `input ${JSON.stringify(loaded.program.inputs[i]?.name)}`)
      copies.push(copy)
      return copy
    })
    const results = yield* start(session, loaded, { ...call, values, stopwatch })
    for (const address of new Set(results.map((r) => r.address))) heap.release(address)
    return stopwatch.profile()
  } finally {
    for (const copy of copies) copy.close()
  }
}

const copied = (
  session: Session,
  value: Extract<Value, { _tag: "DeviceArray" }>,
  what: string
): DeviceTensor.DeviceTensor => {
  const { heap, memory } = session
  const from = DeviceTensor.addressOf(session, value, () => what)
  const bytes = storageBytes(value.dtype, value.shape)
  const to = heap.allocate(bytes, () => `a copy of ${what}`)
  new Uint8Array(memory.buffer).copyWithin(to, from, from + bytes)
  return DeviceTensor.make(session, value.dtype, value.shape, to, heap.release)
}
