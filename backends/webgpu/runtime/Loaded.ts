import type { Bindings } from "../../../ir/Dim.ts"
import * as Launch from "../Launch.ts"
import type * as Program from "../Program.ts"
import * as Lru from "./Lru.ts"
import type { Session } from "./Session.ts"

/** A program whose pipelines exist and whose constants are on the device, with what its calls leave for the next. */
export interface Loaded {
  readonly program: Program.Program
  readonly pipelines: ReadonlyArray<GPUComputePipeline>
  readonly constants: ReadonlyArray<GPUBuffer>
  /** Sizes of a call; the same for the same lengths. */
  readonly launch: (sizes: Bindings, donated: ReadonlySet<number>) => Launch.Launch
  /** A uniform with the lengths of a launch, written where it holds those of another. Undefined where they need more ranges than fit. */
  readonly lengths: (launch: Launch.Launch) => GPUBuffer | undefined
  /** The bind group of a step over these buffers; the same for the same buffers. */
  readonly group: (step: number, buffers: ReadonlyArray<GPUBuffer>) => GPUBindGroup | undefined
  readonly keepGroup: (step: number, buffers: ReadonlyArray<GPUBuffer>, group: GPUBindGroup) => void
}

/** Lengths whose sizes are kept, and sets of buffers of one step whose bind groups are kept. */
const [keepLaunches, keepGroups] = [64, 16]

/** Compiles and uploads what all calls share. */
export const load = async (session: Session, program: Program.Program): Promise<Loaded> => {
  const blank = new Uint8Array(Launch.uniformBytes(program))
  const [pipelines, uniform, constants] = await Promise.all([
    Promise.all(program.kernels.map(session.pipeline)),
    session.constant(blank),
    Promise.all(program.constants.map(({ data }) => session.constant(data)))
  ])
  // A device that is lost gives pipelines as if nothing had happened.
  session.check()
  const launches = Lru.make<string, Launch.Launch>(keepLaunches)
  const groups = program.steps.map((): Array<readonly [ReadonlyArray<GPUBuffer>, GPUBindGroup]> => [])
  let written: Launch.Launch | undefined
  return {
    program,
    pipelines,
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
    group: (step, buffers) => groups[step]?.find(([known]) => buffers.every((b, i) => b === known[i]))?.[1],
    keepGroup: (step, buffers, group) => {
      const kept = groups[step]
      kept?.unshift([buffers, group])
      if (kept !== undefined && kept.length > keepGroups) kept.pop()
    }
  }
}
