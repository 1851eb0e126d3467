import { Effect, type Scope } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import type { BackendShape, Executable, Plan } from "../Backend.ts"
import {
  type BackendError,
  DeviceLost,
  InvalidArray,
  KernelError,
  OutOfMemory,
  UnsupportedByDevice
} from "../errors.ts"
import { lower } from "./lower.ts"
import * as Program from "./Program.ts"
import * as DeviceTensor from "./runtime/DeviceTensor.ts"
import { describe, deviceLimits } from "./runtime/deviceLimits.ts"
import { execute } from "./runtime/execute.ts"
import { read } from "./runtime/read.ts"
import * as Session from "./runtime/Session.ts"
import { storageBytes, toDevice } from "./runtime/transfer.ts"
import { statsOf } from "./stats.ts"

/** A WebGPU device as a backend. The scope frees what the backend allocates; the device stays its owner's. */
export const make = (
  device: GPUDevice,
  info: GPUAdapterInfo
): Effect.Effect<BackendShape, never, Scope.Scope> =>
  Effect.gen(function* () {
    const limits = deviceLimits(device, info)
    const session = yield* Effect.acquireRelease(
      Effect.sync(() => Session.make(device, limits)),
      (open) => Effect.sync(open.close)
    )

    const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, BackendError> =>
      Effect.tryPromise({
        try: run,
        catch: (cause) => (isBackendError(cause) ? cause : session.explain(cause))
      })

    /** An array that the scope gives back to the pool. Not interruptible between the two, so none is lost. */
    const owned = <A extends ReadonlyArray<DeviceTensor.DeviceTensor>>(
      acquire: Effect.Effect<A, BackendError>
    ): Effect.Effect<A, BackendError, Scope.Scope> =>
      Effect.acquireRelease(acquire, (arrays) =>
        Effect.sync(() => {
          for (const array of arrays) {
            const buffer = array.take()
            if (buffer !== undefined) session.buffers.release(buffer)
          }
        })
      )

    const load = (plan: Plan): Effect.Effect<Executable, BackendError> =>
      Effect.gen(function* () {
        const program = yield* Effect.try({
          try: () => {
            session.check()
            return lower(plan, limits)
          },
          catch: (cause) => {
            if (isBackendError(cause)) return cause
            throw cause
          }
        })
        const pipelines = yield* attempt(() => Promise.all(program.kernels.map(session.pipeline)))
        // They live as long as the session: an executable has no end of its own.
        const constants = yield* Effect.try({
          try: () =>
            program.constants.map(({ data }) => {
              const buffer = device.createBuffer({ size: data.byteLength, usage: 0x80 | 0x8 })
              device.queue.writeBuffer(buffer, 0, data)
              return buffer
            }),
          catch: session.explain
        })
        return {
          program: Program.print(program),
          stats: (sizes) => statsOf(plan, program, limits, sizes),
          run: (values, sizes, options) =>
            owned(attempt(() => execute(session, { program, pipelines, constants }, values, sizes, options)))
        }
      })

    const upload = (array: HostArray) =>
      Effect.map(
        owned(
          attempt(async () => {
            session.check()
            if (array.dtype === "f64") {
              throw new UnsupportedByDevice({
                message: "WebGPU has no f64",
                hint: "cast to f32, or use the reference backend"
              })
            }
            const buffer = session.buffers.acquire(storageBytes(array.dtype, array.shape), "the array")
            device.queue.writeBuffer(buffer, 0, toDevice(array))
            return [DeviceTensor.make(session, array.dtype, array.shape, buffer)] as const
          })
        ),
        ([tensor]) => tensor
      )

    return {
      name: "webgpu",
      limits,
      description: describe(info, limits),
      compile: load,
      upload,
      download: (array) => attempt(() => read(session, array)),
      pipelinesCreated: session.pipelinesCreated,
      buffersAlive: session.buffers.alive
    } satisfies BackendShape
  })

const isBackendError = (e: unknown): e is BackendError =>
  e instanceof UnsupportedByDevice ||
  e instanceof DeviceLost ||
  e instanceof OutOfMemory ||
  e instanceof InvalidArray ||
  e instanceof KernelError
