import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Job, type Lowered, result } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Body from "../wgsl/body.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Module from "../wgsl/Module.ts"
import { store, storePair, storesPairs } from "../wgsl/storage.ts"

/**
 * A body without an anchor: one thread for each element of the result, or for each pair where two 16-bit elements share a
 * word.
 */
export const map = (job: Job): Lowered => {
  const root = (job.body.outputs[0] as { readonly node: Node }).node
  const { dtype, shape } = root.type
  const module = Module.make(job)
  const emitter = Emitter.make(module)
  const body = Body.make(emitter, job.body)
  const threads = job.schedule?.kind === "elementwise" ? job.schedule.threads : 64
  const count = Shape.size(shape)
  const pairs = storesPairs(module, dtype)
  const items = pairs ? Size.ceilDiv(count, 2) : Size.from(count)

  const item = emitter.constant(`${Module.workgroupIndex} * ${threads} + i32(lix)`)
  emitter.line(`if (${item} >= ${Size.wgsl(items, module.symbol)}) { return; }`)
  const element = (linear: string): string => body.at(Body.stored(root), emitter.delinearize(linear, shape))
  if (pairs) {
    const [even, odd] = emitter.pair(item)
    storePair(emitter, result, dtype, item, [element(even), element(odd)])
  } else store(emitter, result, dtype, item, element(item))
  return module.finish({
    name: "map",
    lines: emitter.lines(),
    workgroupSize: [threads, 1, 1],
    workgroups: Size.ceilDiv(items, threads)
  })
}
