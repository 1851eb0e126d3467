import { Effect, type Scope } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import type { Limits } from "../../ir/Limits.ts"
import * as Print from "../../ir/Print.ts"
import type { BackendShape, CompileOptions, Executable, Plan } from "../Backend.ts"
import {
  type BackendError,
  DeviceLost,
  InvalidArray,
  KernelError,
  OutOfMemory,
  UnsupportedByDevice
} from "../errors.ts"
import * as Owner from "../Owner.ts"
import { lower } from "./lower.ts"
import * as Program from "./Program.ts"
import * as DeviceTensor from "./runtime/DeviceTensor.ts"
import { describe, deviceLimits } from "./runtime/deviceLimits.ts"
import { execute, executeAndRead } from "./runtime/execute.ts"
import * as Loaded from "./runtime/Loaded.ts"
import { profile } from "./runtime/profile.ts"
import { read } from "./runtime/read.ts"
import * as Session from "./runtime/Session.ts"
import { transact } from "./runtime/transact.ts"
import { storageBytes, toDevice } from "./runtime/transfer.ts"
import { statsOf } from "./stats.ts"

/** A WebGPU device as a backend. The scope frees what the backend allocates; the device stays its owner's. */
export const make = (
  device: GPUDevice,
  info: GPUAdapterInfo,
  options: Session.Options = {}
): Effect.Effect<BackendShape, never, Scope.Scope> =>
  Effect.gen(function* () {
    const limits = deviceLimits(device, info)
    const session = yield* Effect.acquireRelease(
      Effect.sync(() => Session.make(device, limits, options)),
      (open) => Effect.sync(open.close)
    )

    const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, BackendError> =>
      Effect.tryPromise({
        try: async () => {
          try {
            return await run()
          } catch (cause) {
            throw isBackendError(cause) ? cause : await session.explain(cause)
          }
        },
        catch: (cause) => cause as BackendError
      })

    /** Arrays that the scope gives back to the pool. Not interruptible between the two, so none is lost. */
    const owned = <A extends ReadonlyArray<DeviceTensor.DeviceTensor>>(
      acquire: Effect.Effect<A, BackendError>
    ): Effect.Effect<A, BackendError, Scope.Scope> =>
      Effect.flatMap(Owner.current, ({ adopt }) =>
        Effect.tap(acquire, (arrays) => Effect.sync(() => adopt(arrays)))
      ).pipe(Effect.uninterruptible)

    const load = (plan: Plan, { ahead }: CompileOptions = {}): Effect.Effect<Executable, BackendError> =>
      attempt(async () => {
        session.check()
        const program = lowered(plan, limits)
        const loaded = await Loaded.load(session, program, ahead)
        return {
          program: Program.print(program),
          stats: (sizes) => statsOf(plan, program, limits, sizes),
          call: (values, sizes, options) =>
            attempt(() => executeAndRead({ session, loaded, values, sizes, options })),
          run: (values, sizes, options) =>
            owned(attempt(() => execute({ session, loaded, values, sizes, options }))),
          profile: (values, sizes, options) =>
            attempt(() => profile({ session, loaded, values, sizes, options }))
        }
      })

    const upload = (array: HostArray) =>
      Effect.map(
        owned(
          attempt(async () => {
            if (array.dtype === "f64") {
              throw new UnsupportedByDevice({
                message: "WebGPU has no f64",
                hint: "cast to f32, or use WebAssembly: Wasm.layer"
              })
            }
            const buffer = await transact(session, (acquire) => {
              const made = acquire.storage(storageBytes(array.dtype, array.shape), "the array")
              acquire.write(made, toDevice(array))
              acquire.submitWrites()
              return made
            })
            const { dtype, shape } = array
            return [DeviceTensor.make(session, dtype, [...shape], buffer, session.buffers.release)] as const
          })
        ),
        ([tensor]) => tensor
      )

    return {
      name: "webgpu",
      limits,
      description: describe(info, limits),
      compile: load,
      source: (plan) =>
        lowered(plan, limits)
          .kernels.map((kernel) => kernel.wgsl)
          .join("\n"),
      upload,
      download: (array) => attempt(() => read(session, array)),
      free: (array) =>
        Effect.sync(() => {
          if (DeviceTensor.isOf(session, array)) array.close()
        }),
      pipelinesCreated: session.pipelinesCreated,
      buffersAlive: session.buffers.alive
    } satisfies BackendShape
  })

/** The program of a plan. What lowering throws beyond its own errors is a defect, reported with the graph. */
const lowered = (plan: Plan, limits: Limits): Program.Program => {
  try {
    return lower(plan, limits)
  } catch (cause) {
    if (isBackendError(cause)) throw cause
    throw new KernelError({
      message: `the graph could not be lowered to WebGPU: ${cause instanceof Error ? cause.message : String(cause)}`,
      source: Print.graph(plan.graph),
      hint: "this is a defect of Effuse: please report it with the graph"
    })
  }
}

const isBackendError = (e: unknown): e is BackendError =>
  e instanceof UnsupportedByDevice ||
  e instanceof DeviceLost ||
  e instanceof OutOfMemory ||
  e instanceof InvalidArray ||
  e instanceof KernelError
