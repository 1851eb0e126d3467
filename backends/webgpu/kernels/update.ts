import type * as Dim from "../../../ir/Dim.ts"
import { updateOf } from "../../../ir/KernelBody.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Body from "../wgsl/body.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { allOf } from "../wgsl/scalar.ts"
import { store } from "../wgsl/storage.ts"
import type { Extent } from "./Part.ts"

const threads = 64

type Update = NodeOf<"update_slice"> | NodeOf<"scatter">

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
  const { place, inside } =
    root.op === "scatter" ? scattered(body, root, indices) : sliced(emitter, body, root, indices)
  const put = () =>
    store(
      emitter,
      job.result,
      root.type.dtype,
      emitter.linearize(place, root.type.shape),
      body.at(source, indices)
    )
  const conditions = inside.flatMap((axis) => [
    `${place[axis]} >= 0`,
    `${place[axis]} < ${emitter.dim(root.type.shape[axis] as Dim.Dim)}`
  ])
  if (conditions.length === 0) put()
  else emitter.branch(allOf(...conditions), put)
  return { threads, workgroups: Size.ceilDiv(count, threads), work: Size.from(count) }
}

/** Where an element of the update goes, and the axes along which that may be outside. */
interface Place {
  readonly place: ReadonlyArray<string>
  readonly inside: ReadonlyArray<number>
}

const sliced = (
  e: Emitter,
  body: Body.Body,
  { operands, attrs: { axis, wrap }, type }: NodeOf<"update_slice">,
  indices: ReadonlyArray<string>
): Place => {
  const start = operands[2] as Node
  const first = body.at(start, start.type.shape.length === 1 ? [indices[0] as string] : [])
  const own = e.add(first, indices[axis] as string)
  const size = e.dim(type.shape[axis] as Dim.Dim)
  const position = wrap ? e.bind(`${e.module.helper("mod_i32")}(${own}, ${size})`) : own
  return { place: indices.map((i, a) => (a === axis ? position : i)), inside: wrap ? [] : [axis] }
}

const scattered = (
  body: Body.Body,
  { operands }: NodeOf<"scatter">,
  [n, ...rest]: ReadonlyArray<string>
): Place => {
  const found = operands.slice(2).map((p) => body.at(p, [n as string]))
  return { place: [...found, ...rest], inside: found.map((_, axis) => axis) }
}
