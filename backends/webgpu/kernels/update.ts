import { type Update, updateOf } from "../../../ir/KernelBody.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Body from "../wgsl/body.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { store } from "../wgsl/storage.ts"
import { updated } from "../wgsl/updated.ts"
import type { Extent } from "./Part.ts"

const threads = 64

/**
 * `update_slice` or `scatter` where the result's buffer holds the old content already: one thread for each element of the update, nothing
 * else is read or written.
 */
export const update = (emitter: Emitter, job: Job, workgroup: string): Extent => {
  const root = updateOf(job.body) as Update
  const source = root.operands[1] as Node
  const body = Body.make(emitter, job.body)
  const count = Shape.size(source.type.shape)
  const item = emitter.constant(`${workgroup} * ${threads} + i32(lix)`)
  emitter.line(`if (${item} >= ${emitter.dim(count)}) { return; }`)
  const indices = emitter.delinearize(item, source.type.shape)
  const { position, inside } = updated(emitter, body, root, indices)
  const put = () => store(emitter, job.result, root.type.dtype, position(), body.at(source, indices))
  if (inside === undefined) put()
  else emitter.branch(inside, put)
  return { threads, workgroups: Size.ceilDiv(count, threads), work: Size.from(count) }
}
