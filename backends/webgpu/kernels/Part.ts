import type { Job, Lowered } from "../Job.ts"
import type { Condition } from "../Program.ts"
import * as Size from "../Size.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Module from "../wgsl/Module.ts"

/** How a job is written as a kernel, alone or as a part of one. */
export interface Part {
  readonly name: string
  readonly when?: ReadonlyArray<Condition>
  /** Writes the statements of a workgroup of this number. */
  readonly emit: (emitter: Emitter.Emitter, job: Job, workgroup: string) => Extent
}

export interface Extent {
  /** Threads of a workgroup. */
  readonly threads: number
  readonly workgroups: Size.Size
  /** Multiply-adds, where they are not those of the whole body. */
  readonly work?: Size.Size
}

export interface Member {
  readonly job: Job
  readonly part: Part
}

/**
 * One kernel of several jobs over one list of operands: the workgroups of the first, then those of the next. Undefined where their workgroups
 * differ, together they need more buffers than the device binds, or they would write a buffer in two ways.
 */
export const assemble = (members: ReadonlyArray<Member>): Lowered | undefined => {
  const { job, part } = members[0] as Member
  const module = Module.make(job)
  const emitter = Emitter.make(module)
  const extents: Array<Extent> = []
  const write = (index: number, workgroup: string): void => {
    const own = members[index] as Member
    module.reuseArrays()
    extents[index] = own.part.emit(emitter, own.job, workgroup)
  }
  const from = (index: number, workgroup: string): void => {
    if (index === members.length - 1) {
      write(index, workgroup)
      return
    }
    const count = () => Size.wgsl((extents[index] as Extent).workgroups, module.symbol)
    emitter.branch(
      () => `${workgroup} < ${count()}`,
      () => write(index, workgroup),
      () => from(index + 1, emitter.constant(`${workgroup} - ${count()}`))
    )
  }
  from(0, members.length === 1 ? Module.workgroupIndex : emitter.constant(Module.workgroupIndex))
  const { threads } = extents[0] as Extent
  const fits =
    members.length === 1 ||
    (module.bindings() <= job.limits.maxStorageBuffersPerShaderStage && !module.writesTwoWays())
  if (!fits || !extents.every((e) => e.threads === threads)) return undefined
  const lowered = module.finish({
    name: [...new Set(members.map((m) => m.part.name))].sort().join("_"),
    lines: emitter.lines(),
    workgroupSize: [threads, 1, 1],
    workgroups: extents.map((e) => e.workgroups).reduce(Size.add)
  })
  const works = extents.map((e) => e.work).filter((work) => work !== undefined)
  return {
    ...lowered,
    ...(part.when === undefined ? {} : { when: part.when }),
    ...(works.length < extents.length ? {} : { work: works.reduce(Size.add) })
  }
}
