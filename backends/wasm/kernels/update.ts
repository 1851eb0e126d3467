import * as Dim from "../../../ir/Dim.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { i32, op } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import * as Frame from "../emit/Frame.ts"
import { floorDiv, modulo } from "../emit/library.ts"
import { store } from "../emit/storage.ts"
import * as Value from "../emit/Value.ts"
import { type Job, type Lowered, result } from "../Job.ts"

/**
 * `update_slice` where the result's memory holds the old content already: the elements of the update are written to their places,
 * nothing else is read or written.
 */
export const update = (job: Job): Lowered => {
  const root = (job.body.outputs[0] as { readonly node: Node }).node as NodeOf<"update_slice">
  const [, source, start] = root.operands as readonly [Node, Node, Node]
  const { axis, wrap } = root.attrs
  const { shape } = source.type
  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const [outer, inner] = [shape.slice(0, -1), shape.at(-1) as Dim.Dim]
  const size = e.dim(root.type.shape[axis] as Dim.Dim)

  const write = (indices: ReadonlyArray<Value.Value>): void => {
    const first = body.at(start, start.type.shape.length === 1 ? [indices[0] as Value.Value] : [])
    const place = e.add(Value.first(e, first), Value.first(e, indices[axis] as Value.Value))
    const position = wrap ? modulo(floorDiv)(e, place, size) : place
    const own = indices.map((i, a) => (a === axis ? Value.uniform(position) : i))
    const put = (): void =>
      store(e, frame.pointer(result), root.type.dtype, own, root.type.shape, body.at(source, indices))
    if (wrap) put()
    else e.branch(e.bind(op("i32.lt_u", position, size)), put)
  }

  e.loop(frame.begin, frame.end, 1, (row) => {
    const indices = Value.delinearize(e, Value.uniform(row), outer)
    const inside = (index: ReturnType<typeof e.dim>): void =>
      write([...indices, Value.along(e, index, inner)])
    // Along the updated axis each element has a place of its own.
    if (axis === shape.length - 1) e.at(1, () => e.loop(i32(0), e.dim(inner), 1, inside))
    else Frame.vectors(e, inner, undefined, inside)
  })
  return frame.finish("update", { times: Dim.one, of: Shape.size(outer), per: 1 })
}
