import { Effect, type Scope } from "effect"
import { Backend, type DeviceArray } from "../backends/Backend.ts"
import type { DType } from "../ir/DType.ts"
import type { HostArray } from "../ir/HostArray.ts"
import { argument } from "./argument.ts"
import { InvalidArray, type RunError } from "./errors.ts"

/** Copies an array to the device of the backend in context. The scope owns the copy. */
export const upload = (array: HostArray): Effect.Effect<DeviceArray, RunError, Backend | Scope.Scope> =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const checked = yield* Effect.fromResult(argument("array", array))
    if ("_tag" in checked) {
      return yield* new InvalidArray({
        message: "the array is on a device already",
        hint: "pass it as it is, or download it from its own backend first"
      })
    }
    return yield* backend.upload(checked)
  })

/** Copies a device array to the host. It stays usable. */
export const download = <D extends DType>(
  array: DeviceArray & { readonly dtype: D }
): Effect.Effect<HostArray<D>, RunError, Backend> =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const checked = yield* Effect.fromResult(argument("array", array))
    if (!("_tag" in checked)) {
      return yield* new InvalidArray({
        message: "the array is on the host already",
        hint: "use its data as it is"
      })
    }
    return (yield* backend.download(array)) as HostArray<D>
  })

/** Gives the memory of a device array back before its scope closes. What is gone already is left alone. */
export const free = (array: DeviceArray): Effect.Effect<void, never, Backend> =>
  Effect.flatMap(Backend, (backend) => backend.free(array))
