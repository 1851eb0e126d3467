import type { Bindings } from "../../../ir/Dim.ts"
import * as Launch from "../Launch.ts"
import * as Program from "../Program.ts"
import * as Lru from "./Lru.ts"
import type { Session } from "./Session.ts"

/** A program whose pipelines are made and whose constants are on the device, with what its calls leave for the next. */
export interface Loaded {
  readonly program: Program.Program
  /** By the number of the kernel; undefined while it is not ready. */
  readonly pipelines: ReadonlyArray<GPUComputePipeline | undefined>
  /** Asks for the pipeline of a kernel. Rejects as `Session.pipeline`. */
  readonly ask: (kernel: number) => Promise<unknown>
  /** Undefined once all pipelines of a launch are ready. Rejects as `Session.pipeline`. */
  readonly waitFor: (launch: Launch.Launch) => Promise<unknown> | undefined
  readonly constants: ReadonlyArray<GPUBuffer>
  /** Sizes of a call; the same for the same lengths. */
  readonly launch: (sizes: Bindings, donated: ReadonlySet<number>) => Launch.Launch
  /** A uniform with the lengths of a launch, written where it holds those of another. Undefined where they need more ranges than fit. */
  readonly lengths: (launch: Launch.Launch) => GPUBuffer | undefined
  /** The bind group of a step over these buffers; the same for the same buffers. */
  readonly group: (step: number, buffers: ReadonlyArray<GPUBuffer>) => GPUBindGroup | undefined
  readonly keepGroup: (step: number, buffers: ReadonlyArray<GPUBuffer>, group: GPUBindGroup) => void
}

/** Makes a pipeline of a program that is still there: whoever waits keeps none alive. */
const askOf = (program: WeakRef<Loaded>, kernel: number) => () => program.deref()?.ask(kernel)

/** Lengths whose sizes are kept, and sets of buffers that begin with one buffer whose bind groups of one step are kept. */
const [keepLaunches, keepGroups] = [64, 16]

/**
 * Compiles and uploads what all calls share, and waits for the pipelines that every call runs. Which of several variants a call needs
 * is known when its lengths are: it waits for its own, and asks for those that are not there yet. `ahead` makes others before a call needs
 * them.
 */
export const load = async (session: Session, program: Program.Program, ahead = true): Promise<Loaded> => {
  const blank = new Uint8Array(Launch.uniformBytes(program))
  const pipelines: Array<GPUComputePipeline | undefined> = []
  const asked: Array<Promise<GPUComputePipeline> | undefined> = []
  const ask = (i: number): Promise<GPUComputePipeline> => {
    const known = asked[i]
    if (known !== undefined) return known
    const made = session.pipeline(program.kernels[i] as Program.Kernel)
    asked[i] = made
    // Who needs it sees why it failed, and the next call may try again.
    made.then(
      (pipeline) => {
        pipelines[i] = pipeline
      },
      () => {
        asked[i] = undefined
      }
    )
    return made
  }
  const { always, sometimes } = Program.kernelsByNeed(program)
  const first = Promise.all(always.map(ask))
  // Compilers of GPUs work side by side; a software device has one, which takes its cores.
  const atOnce = session.limits.kind === "gpu"
  if (ahead && atOnce) for (const i of sometimes) void ask(i)
  const [, uniform, constants] = await Promise.all([
    first,
    session.constant(blank),
    Promise.all(program.constants.map(({ data }) => session.constant(data)))
  ])
  // A device that is lost gives pipelines as if nothing had happened.
  session.check()
  const launches = Lru.make<string, Launch.Launch>(keepLaunches)
  // They go with the first buffer that they bind.
  const groups = program.steps.map(
    () => new WeakMap<GPUBuffer, Array<readonly [ReadonlyArray<GPUBuffer>, GPUBindGroup]>>()
  )
  let written: Launch.Launch | undefined
  const loaded: Loaded = {
    program,
    pipelines,
    ask,
    waitFor: (launch) =>
      launch.kernels.every((i) => pipelines[i] !== undefined)
        ? undefined
        : Promise.all(launch.kernels.map(ask)),
    constants,
    launch: (sizes, donated) => {
      const key = `${program.symbols.map((s) => sizes[s]).join(" ")},${[...donated].join(" ")}`
      return launches.get(key, () => Launch.make(program, sizes, donated, session.limits, session.mostWork))
    },
    lengths: (launch) => {
      if (launch.uniform.byteLength > uniform.size) return undefined
      if (launch !== written) session.device.queue.writeBuffer(uniform, 0, launch.uniform)
      written = launch
      return uniform
    },
    group: (step, buffers) =>
      groups[step]
        ?.get(buffers[0] as GPUBuffer)
        ?.find(([known]) => buffers.every((b, i) => b === known[i]))?.[1],
    keepGroup: (step, buffers, group) => {
      const first = buffers[0] as GPUBuffer
      const others = groups[step]?.get(first) ?? []
      groups[step]?.set(first, [[buffers, group] as const, ...others].slice(0, keepGroups))
    }
  }
  // Kernels of long calls are behind those of short ones.
  const weak = new WeakRef(loaded)
  if (ahead && !atOnce) session.idle.later(sometimes.toReversed().map((i) => askOf(weak, i)))
  return loaded
}
