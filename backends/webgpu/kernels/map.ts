import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Body from "../wgsl/body.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { store, storePair, storesPairs } from "../wgsl/storage.ts"
import type { Extent } from "./Part.ts"

/**
 * A body without an anchor. An item is an element of the result, or a pair where two 16-bit elements share a word; on a
 * GPU each thread computes one, in software each computes several, since a workgroup costs more there than its items.
 */
export const map = (emitter: Emitter, job: Job, workgroup: string): Extent => {
  const root = (job.body.outputs[0] as { readonly node: Node }).node
  const { dtype, shape } = root.type
  const { module } = emitter
  const body = Body.make(emitter, job.body)
  const threads = job.schedule?.kind === "elementwise" ? job.schedule.threads : 64
  const perThread = job.limits.kind === "cpu" ? 16 : 1
  const count = Shape.size(shape)
  const pairs = storesPairs(module, dtype)
  const items = pairs ? Size.ceilDiv(count, 2) : Size.from(count)
  const total = Size.wgsl(items, module.symbol)

  const element = (linear: string): string => body.at(Body.stored(root), emitter.delinearize(linear, shape))
  const compute = (item: string): void => {
    if (pairs) {
      const [even, odd] = emitter.pair(item)
      storePair(emitter, job.result, dtype, item, [element(even), element(odd)])
    } else store(emitter, job.result, dtype, item, element(item))
  }
  const first = emitter.constant(`${workgroup} * ${threads * perThread} + i32(lix)`)
  if (perThread === 1) {
    emitter.line(`if (${first} >= ${total}) { return; }`)
    compute(first)
  } else {
    const end = emitter.bind(`min(${first} + ${threads * perThread}, ${total})`)
    emitter.loop(first, end, String(threads), compute)
  }
  return { threads, workgroups: Size.ceilDiv(items, threads * perThread) }
}
