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
  /** Asks for those that the first call did without, now or when that is over; does nothing later on. */
  readonly askOthers: (over?: () => Promise<unknown>) => void
  readonly constants: ReadonlyArray<GPUBuffer>
  /** Sizes of a call; the same for the same lengths. */
  readonly launch: (sizes: Bindings, donated: ReadonlySet<number>) => Launch.Launch
  /** A uniform with the lengths of a launch, written where it holds those of another. Undefined where they need more ranges than fit. */
  readonly lengths: (launch: Launch.Launch) => GPUBuffer | undefined
  /** The bind group of a step over what is meant, buffers and ranges of them: the same for the same. */
  readonly group: (step: number, meant: Meant) => GPUBindGroup | undefined
  readonly keepGroup: (step: number, meant: Meant, group: GPUBindGroup) => void
}

/** What a bind group binds; a buffer first. */
export type Meant = ReadonlyArray<GPUBuffer | number>

/** Lengths whose sizes are kept, and sets of buffers that begin with one buffer whose bind groups of one step are kept. */
const [keepLaunches, keepGroups] = [64, 64]

/** A length by which the kernels of long calls are told from those of short ones. */
const long = 4096

/** A device that goes away says so elsewhere. */
const ignored = (): void => {}

const ofLength = ({ symbols }: Program.Program, length: number): Bindings =>
  Object.fromEntries(symbols.map((s) => [s, length]))

/**
 * Compiles and uploads what all calls share, and waits for the pipelines that every call runs. Which of several variants a call needs is known when
 * its lengths are: it waits for its own. All are asked for when the first call is over at the latest, unless `ahead` is false,
 * so that no call after it makes one.
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
  const others = ahead ? [...sometimes] : []
  const askOthers: Loaded["askOthers"] = (over) => {
    if (others.length === 0) return
    if (over !== undefined) over().then(() => askOthers(), ignored)
    else for (const i of others.splice(0)) void ask(i)
  }
  if (session.limits.kind === "gpu") askOthers()
  // A software device compiles one kernel at a time, on the cores that it computes on: what takes it longest begins at once, and what the first
  // call does not need waits until that is over.
  else if (ahead) for (const { kernel } of Program.steps(program, ofLength(program, long))) void ask(kernel)
  const [, uniform, constants] = await Promise.all([
    first,
    session.constant(blank),
    Promise.all(program.constants.map(({ data }) => session.constant(data)))
  ])
  // A device that is lost gives pipelines as if nothing had happened.
  session.check()
  const launches = Lru.make<string, Launch.Launch>(keepLaunches)
  // They go with the first buffer that they bind.
  const groups = program.steps.map(() => new WeakMap<GPUBuffer, Array<readonly [Meant, GPUBindGroup]>>())
  let written: Launch.Launch | undefined
  let launched = false
  const loaded: Loaded = {
    program,
    pipelines,
    ask,
    waitFor: (launch) => {
      const ready = launch.kernels.every((i) => pipelines[i] !== undefined)
      const own = ready ? undefined : Promise.all(launch.kernels.map(ask))
      if (launched) askOthers()
      launched = true
      return own
    },
    askOthers,
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
    group: (step, meant) =>
      groups[step]?.get(meant[0] as GPUBuffer)?.find(([known]) => meant.every((b, i) => b === known[i]))?.[1],
    keepGroup: (step, meant, group) => {
      const first = meant[0] as GPUBuffer
      const others = groups[step]?.get(first) ?? []
      groups[step]?.set(first, [[meant, group] as const, ...others].slice(0, keepGroups))
    }
  }
  return loaded
}
