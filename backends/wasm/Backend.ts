import { Effect, type Scope } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Print from "../../ir/Print.ts"
import type { BackendShape, Executable, Plan } from "../Backend.ts"
import { type BackendError, InvalidArray, KernelError, OutOfMemory, UnsupportedByDevice } from "../errors.ts"
import { encode } from "./assembler/encode.ts"
import * as Wat from "./assembler/print.ts"
import { limits } from "./limits.ts"
import { lower } from "./lower.ts"
import * as Program from "./Program.ts"
import * as DeviceTensor from "./runtime/DeviceTensor.ts"
import type { Run } from "./runtime/engine.ts"
import { call, execute, type Loaded } from "./runtime/execute.ts"
import * as Session from "./runtime/Session.ts"
import { read, storageBytes, write } from "./runtime/transfer.ts"
import { statsOf } from "./stats.ts"

export interface Options {
  /** `false` leaves relaxed instructions out, whose results may differ in the last place from engine to engine. */
  readonly relaxed?: boolean
}

/** WebAssembly on this thread as a backend. Fails with `UnsupportedByDevice` where the host has none. */
export const make = (options: Options = {}): Effect.Effect<BackendShape, UnsupportedByDevice> =>
  Effect.try({ try: () => Session.make(options.relaxed ?? true), catch: refusal }).pipe(Effect.map(of))

const refusal = (cause: unknown): UnsupportedByDevice => {
  if (cause instanceof UnsupportedByDevice) return cause
  throw cause
}

const isBackendError = (e: unknown): e is BackendError =>
  e instanceof UnsupportedByDevice ||
  e instanceof OutOfMemory ||
  e instanceof InvalidArray ||
  e instanceof KernelError

const known = (cause: unknown): BackendError => {
  if (isBackendError(cause)) return cause
  throw cause
}

const attempt = <A>(run: () => A): Effect.Effect<A, BackendError> => Effect.try({ try: run, catch: known })

/** Arrays that the scope takes back. */
const owned = (
  acquire: () => ReadonlyArray<DeviceTensor.DeviceTensor>
): Effect.Effect<ReadonlyArray<DeviceTensor.DeviceTensor>, BackendError, Scope.Scope> =>
  Effect.acquireRelease(attempt(acquire), (arrays) =>
    Effect.sync(() => {
      for (const array of arrays) array.close()
    })
  )

const of = (session: Session.Session): BackendShape => {
  const { features, heap, memory } = session
  let modules = 0
  /** Addresses by content: what programs share is there once. */
  const constantsOf = new Map<string, number>()

  const constant = (data: Uint8Array<ArrayBuffer>): number => {
    const key = data.reduce((text, byte) => text + String.fromCharCode(byte), "")
    const known = constantsOf.get(key)
    if (known !== undefined) return known
    const address = heap.allocate(data.byteLength, "a constant")
    new Uint8Array(memory.buffer, address, data.byteLength).set(data)
    constantsOf.set(key, address)
    return address
  }

  const load = async (plan: Plan): Promise<Executable> => {
    const program = lowered(plan, session)
    const kernels = await compiled(program, session)
    modules++
    const constants = program.constants.map(({ data }) => constant(data))
    const loaded: Loaded = { program, kernels, constants }
    return {
      program: Program.print(program),
      stats: (sizes) => statsOf(plan, program, sizes),
      call: (values, sizes, options) => attempt(() => call(session, loaded, values, sizes, options)),
      run: (values, sizes, options) => owned(() => execute(session, loaded, values, sizes, options))
    }
  }

  const upload = (array: HostArray) =>
    Effect.map(
      owned(() => {
        if (array.dtype === "f64") {
          throw new UnsupportedByDevice({
            message: "the WebAssembly backend has no f64",
            hint: "cast to f32, or use the reference backend"
          })
        }
        const address = heap.allocate(storageBytes(array.dtype, array.shape), "the array")
        write(memory.buffer, address, array)
        return [DeviceTensor.make(session, array.dtype, [...array.shape], address, heap.release)]
      }),
      ([tensor]) => tensor as DeviceTensor.DeviceTensor
    )

  return {
    name: "wasm",
    limits,
    description: `WebAssembly, ${features.relaxed ? "relaxed SIMD" : features.simd ? "SIMD" : "no SIMD"}, one thread`,
    compile: (plan) => Effect.tryPromise({ try: () => load(plan), catch: known }),
    upload,
    download: (array) =>
      attempt(() =>
        read(memory.buffer, DeviceTensor.addressOf(session, array, "the array"), array.dtype, array.shape)
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

const compiled = async (
  program: Program.Program,
  { engine, memory }: Session.Session
): Promise<ReadonlyArray<Run>> => {
  try {
    const module = await engine.compile(encode(program.module))
    const { exports } = await engine.instantiate(module, { env: { memory, pow: Math.pow } })
    return program.kernels.map(({ func }) => exports[func.name] as Run)
  } catch (cause) {
    throw new KernelError({
      message: `the engine refused the module: ${cause instanceof Error ? cause.message : String(cause)}`,
      source: Wat.print(program.module),
      hint: "this is a defect of Effuse: please report it with the graph"
    })
  }
}
