import type * as Dim from "../../../ir/Dim.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Job, type Lowered, result } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Body from "../wgsl/body.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Module from "../wgsl/Module.ts"
import { allOf } from "../wgsl/scalar.ts"
import { store } from "../wgsl/storage.ts"

const threads = 64

/**
 * `update_slice` where the result's buffer holds the old content already: one thread for each element of the update, nothing
 * else is read or written.
 */
export const update = (job: Job): Lowered => {
  const root = (job.body.outputs[0] as { readonly node: Node }).node as NodeOf<"update_slice">
  const [, source, start] = root.operands as readonly [Node, Node, Node]
  const { axis, wrap } = root.attrs
  const module = Module.make(job)
  const emitter = Emitter.make(module)
  const body = Body.make(emitter, job.body)
  const count = Shape.size(source.type.shape)
  const item = emitter.constant(`${Module.workgroupIndex} * ${threads} + i32(lix)`)
  emitter.line(`if (${item} >= ${emitter.dim(count)}) { return; }`)
  const indices = emitter.delinearize(item, source.type.shape)
  const first = body.at(start, start.type.shape.length === 1 ? [indices[0] as string] : [])
  const size = emitter.dim(root.type.shape[axis] as Dim.Dim)
  const place = emitter.add(first, indices[axis] as string)
  const position = wrap ? emitter.bind(`${module.helper("mod_i32")}(${place}, ${size})`) : place
  const put = () =>
    store(
      emitter,
      result,
      root.type.dtype,
      emitter.linearize(
        indices.map((i, a) => (a === axis ? position : i)),
        root.type.shape
      ),
      body.at(source, indices)
    )
  if (wrap) put()
  else emitter.branch(allOf(`${position} >= 0`, `${position} < ${size}`), put)
  return module.finish({
    name: "update",
    lines: emitter.lines(),
    workgroupSize: [threads, 1, 1],
    workgroups: Size.ceilDiv(count, threads)
  })
}
