import * as Dim from "../../../ir/Dim.ts"
import type { Graph } from "../../../ir/Graph.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, op } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import * as Frame from "../emit/Frame.ts"
import { isScalarOp } from "../emit/scalar.ts"
import { store } from "../emit/storage.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"

/** Elements of an item where a tensor is one long row. */
const block = 4096

/** Every element on its own: one loop over rows, and inside it one in vectors over the last axis. */
export const map = (job: Job): Lowered => {
  const root = (job.body.outputs[0] as { readonly node: Node }).node
  const { shape, dtype } = root.type
  const frame = Frame.open(job)
  const { e } = frame
  const put = (indices: ReadonlyArray<Value.Value>): void => {
    const body = Body.make(frame, job.body)
    store(e, frame.pointer(job.result), dtype, indices, shape, body.at(Body.stored(root), indices))
  }
  if (shape.length === 0 || isFlat(job.body, root)) {
    const size = Shape.size(shape)
    const length = e.dim(size)
    // An axis of 1 has no part in an address.
    const last = shape.findLastIndex((d) => !Dim.isOne(d))
    const at = (index: Expr<"i32">): ReadonlyArray<Value.Value> =>
      shape.map((_, axis) => (axis === last ? Value.along(e, index, size) : Value.integer(0)))
    const first = e.mul(frame.begin, i32(block))
    const stop = e.min(e.mul(frame.end, i32(block)), length)
    // Only the last block has elements left over.
    const end = e.bind(op("i32.and", stop, i32(-4)))
    e.loop(first, end, 4, (index) => e.at(4, () => put(at(index))))
    e.loop(end, stop, 1, (index) => e.at(1, () => put(at(index))))
    return frame.finish("map", { times: Dim.one, of: size, per: block })
  }
  const [outer, inner] = [shape.slice(0, -1), shape.at(-1) as Dim.Dim]
  e.loop(frame.begin, frame.end, 1, (row) => {
    const indices = Value.delinearize(e, Value.uniform(row), outer)
    Frame.vectors(e, inner, Dim.value(inner), (index) => put([...indices, Value.along(e, index, inner)]))
  })
  return frame.finish("map", { times: Dim.one, of: Shape.size(outer), per: 1 })
}

/** Whether all tensors of the body are of the result's shape or single values: then the axes do not matter. */
const isFlat = (body: Graph, root: Node): boolean =>
  body.nodes.every(
    (n) =>
      (isScalarOp(n.op) || n.op === "input" || n.op === "constant" || n.op === "dim") &&
      (n.type.shape.length === 0 || Shape.equals(n.type.shape, root.type.shape))
  )
