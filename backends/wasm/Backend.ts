import { Effect, type Scope } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Print from "../../ir/Print.ts"
import type { BackendShape, Executable, Plan } from "../Backend.ts"
import {
  type BackendError,
  DeviceLost,
  InvalidArray,
  KernelError,
  OutOfMemory,
  UnsupportedByDevice
} from "../errors.ts"
import * as Owner from "../Owner.ts"
import { encode } from "./assembler/encode.ts"
import * as Wat from "./assembler/print.ts"
import { limits, mostBytes } from "./limits.ts"
import { lower } from "./lower.ts"
import * as Program from "./Program.ts"
import * as DeviceTensor from "./runtime/DeviceTensor.ts"
import { drive } from "./runtime/drive.ts"
import type { CompiledModule, Engine, Run } from "./runtime/engine.ts"
import { execute, executeAndRead, type Loaded } from "./runtime/execute.ts"
import { profile } from "./runtime/profile.ts"
import * as Session from "./runtime/Session.ts"
import { read, storageBytes, write } from "./runtime/transfer.ts"
import { statsOf } from "./stats.ts"

export type Options = Session.Options

/** WebAssembly as a backend; the scope ends its threads. Fails with `UnsupportedByDevice` where the host has none. */
export const make = (options: Options = {}): Effect.Effect<BackendShape, UnsupportedByDevice, Scope.Scope> =>
  Effect.acquireRelease(Effect.try({ try: () => Session.make(options), catch: refusal }), (session) =>
    Effect.sync(session.pool.close)
  ).pipe(Effect.map(of))

const refusal = (cause: unknown): UnsupportedByDevice => {
  if (cause instanceof UnsupportedByDevice) return cause
  throw cause
}

const isBackendError = (e: unknown): e is BackendError =>
  e instanceof UnsupportedByDevice ||
  e instanceof DeviceLost ||
  e instanceof OutOfMemory ||
  e instanceof InvalidArray ||
  e instanceof KernelError

const known = (cause: unknown): BackendError => {
  if (isBackendError(cause)) return cause
  throw cause
}

const attempt = <A>(run: () => A): Effect.Effect<A, BackendError> => Effect.try({ try: run, catch: known })

/** Arrays that the scope takes back. It has them as soon as they are made, so that an interruption never comes between. */
const owned = <E>(
  acquire: (made: (arrays: ReadonlyArray<DeviceTensor.DeviceTensor>) => void) => Effect.Effect<void, E>
): Effect.Effect<ReadonlyArray<DeviceTensor.DeviceTensor>, E, Scope.Scope> =>
  Effect.flatMap(Owner.current, ({ adopt }) => {
    let owns: ReadonlyArray<DeviceTensor.DeviceTensor> = []
    const acquired = acquire((arrays) => {
      owns = arrays
      adopt(arrays)
    })
    return Effect.map(acquired, () => owns)
  })

/** A backend of a session. */
export const of = (session: Session.Session): BackendShape => {
  const { features, heap, memory } = session
  let modules = 0
  /** Addresses by content: what programs share is there once. */
  const constantsOf = new Map<string, number>()

  const constant = (data: Uint8Array<ArrayBuffer>): number => {
    const key = data.reduce((text, byte) => text + String.fromCharCode(byte), "")
    const known = constantsOf.get(key)
    if (known !== undefined) return known
    const address = heap.allocate(data.byteLength, () => "a constant")
    new Uint8Array(memory.buffer, address, data.byteLength).set(data)
    constantsOf.set(key, address)
    return address
  }

  const load = async (plan: Plan): Promise<Executable> => {
    const program = lowered(plan, session)
    const { module, kernels, names, bytes } = await compiled(program, session)
    modules++
    const constants = program.constants.map(({ data }) => constant(data))
    const loaded: Loaded = { program, module, kernels, names, constants }
    return {
      program: Program.print(program, bytes),
      stats: (sizes) => statsOf(plan, program, sizes),
      call: (values, sizes, options) =>
        drive((signal) => executeAndRead(session, loaded, { values, sizes, options, signal }), attempt),
      run: (values, sizes, options) =>
        owned((made) =>
          drive(function* (signal) {
            made(yield* execute(session, loaded, { values, sizes, options, signal }))
          }, attempt)
        ),
      profile: (values, sizes, options) =>
        drive((signal) => profile(session, loaded, { values, sizes, options, signal }), attempt)
    }
  }

  const upload = (array: HostArray) =>
    Effect.map(
      owned((made) =>
        attempt(() => {
          const bytes = storageBytes(array.dtype, array.shape)
          if (bytes > mostBytes) {
            throw new UnsupportedByDevice({
              message: `the array takes ${bytes} bytes, a tensor of the WebAssembly backend ${mostBytes} at most`,
              hint: "upload it in parts, or use a GPU backend"
            })
          }
          const address = heap.allocate(bytes, () => "the array")
          write(memory.buffer, address, array)
          made([DeviceTensor.make(session, array.dtype, [...array.shape], address, heap.release)])
        })
      ),
      ([tensor]) => tensor as DeviceTensor.DeviceTensor
    )

  return {
    name: "wasm",
    limits,
    get description() {
      const vectors = features.relaxed ? "relaxed SIMD" : features.simd ? "SIMD" : "scalar"
      const [threads, alone] = [session.pool.threads(), session.pool.alone()]
      const several = threads > 1 ? `${threads} threads` : "one thread"
      return `WebAssembly, ${vectors}, ${several}${alone === undefined ? "" : ` (${alone})`}`
    },
    compile: (plan) => Effect.tryPromise({ try: () => load(plan), catch: known }),
    upload,
    download: (array) =>
      attempt(() =>
        read(
          memory.buffer,
          DeviceTensor.addressOf(session, array, () => "the array"),
          array.dtype,
          array.shape
        )
      ),
    free: (array) =>
      Effect.sync(() => {
        if (DeviceTensor.isOf(session, array)) array.close()
      }),
    pipelinesCreated: () => modules,
    buffersAlive: heap.alive
  }
}

/** The program of a plan. What lowering throws beyond its own errors is a defect, reported with the graph. */
const lowered = (plan: Plan, { features }: Session.Session): Program.Program => {
  try {
    return lower(plan, features)
  } catch (cause) {
    if (isBackendError(cause)) throw cause
    throw new KernelError({
      message: `the graph could not be lowered to WebAssembly: ${cause instanceof Error ? cause.message : String(cause)}`,
      source: Print.graph(plan.graph),
      hint: "this is a defect of Effuse: please report it with the graph"
    })
  }
}

interface Compiled {
  readonly bytes: number
  readonly module: CompiledModule
  readonly names: ReadonlyArray<string>
  readonly kernels: ReadonlyArray<Run>
}

/** Modules up to so many bytes are compiled here, in a millisecond or two: a promise waits for a thread of the engine that may be busy. */
const short = 2 ** 17

const assembled = async (engine: Engine, binary: Uint8Array<ArrayBuffer>): Promise<CompiledModule> => {
  try {
    if (binary.length <= short) return new engine.Module(binary)
  } catch {
    // A page that may not, or a defect, which the other way reports.
  }
  return engine.compile(binary)
}

const compiled = async (
  program: Program.Program,
  { engine, memory, shared }: Session.Session
): Promise<Compiled> => {
  try {
    const binary = encode(program.module, { shared })
    const module = await assembled(engine, binary)
    const { exports } = await engine.instantiate(module, { env: { memory }, Math })
    const names = program.kernels.map(({ func }) => func.name)
    return { bytes: binary.length, module, names, kernels: names.map((name) => exports[name] as Run) }
  } catch (cause) {
    throw new KernelError({
      message: `the engine refused the module: ${cause instanceof Error ? cause.message : String(cause)}`,
      source: Wat.print(program.module),
      hint: "this is a defect of Effuse: please report it with the graph"
    })
  }
}
