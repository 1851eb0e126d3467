import * as Dim from "../../../ir/Dim.ts"
import { updateOf } from "../../../ir/KernelBody.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, op } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import type { Emitter } from "../emit/Emitter.ts"
import * as Frame from "../emit/Frame.ts"
import { floorDiv, modulo } from "../emit/library.ts"
import { store } from "../emit/storage.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered } from "../Job.ts"

type Update = NodeOf<"update_slice"> | NodeOf<"scatter">
type Indices = ReadonlyArray<Value.Value>

/**
 * `update_slice` or `scatter` where the result's memory holds the old content already: the elements of the update are written to their
 * places, nothing else is read or written.
 */
export const update = (job: Job): Lowered => {
  const root = updateOf(job.body) as Update
  const source = root.operands[1] as Node
  const { shape } = source.type
  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const [outer, inner] = [shape.slice(0, -1), shape.at(-1) as Dim.Dim]

  const write = (indices: Indices): void => {
    const { place, inside } =
      root.op === "scatter" ? scattered(e, body, root, indices) : sliced(e, body, root, indices)
    const put = (): void =>
      store(e, frame.pointer(job.result), root.type.dtype, place, root.type.shape, body.at(source, indices))
    const conditions = inside.map(
      (axis): Expr<"i32"> =>
        // As an unsigned number what is below 0 is past the end.
        op("i32.lt_u", Value.first(e, place[axis] as Value.Value), e.dim(root.type.shape[axis] as Dim.Dim))
    )
    if (conditions.length === 0) put()
    else e.branch(e.bind(conditions.reduce((a, b) => op("i32.and", a, b))), put)
  }

  e.loop(frame.begin, frame.end, 1, (row) => {
    const indices = Value.delinearize(e, Value.uniform(row), outer)
    const inside = (index: ReturnType<typeof e.dim>): void =>
      write([...indices, Value.along(e, index, inner)])
    // Along an axis that positions are found for, each element has a place of its own.
    const apart = root.op === "scatter" ? outer.length === 0 : root.attrs.axis === outer.length
    if (apart) e.at(1, () => e.loop(i32(0), e.dim(inner), 1, inside))
    else Frame.vectors(e, inner, undefined, inside)
  })
  return frame.finish("update", { times: Dim.one, of: Shape.size(outer), per: 1 })
}

/** Where elements of the update go, and the axes along which that may be outside. */
interface Place {
  readonly place: Indices
  readonly inside: ReadonlyArray<number>
}

const sliced = (
  e: Emitter,
  body: Body.Body,
  { operands, attrs: { axis, wrap }, type }: NodeOf<"update_slice">,
  indices: Indices
): Place => {
  const start = operands[2] as Node
  const first = body.at(start, start.type.shape.length === 1 ? [indices[0] as Value.Value] : [])
  const own = e.add(Value.first(e, first), Value.first(e, indices[axis] as Value.Value))
  const position = wrap ? modulo(floorDiv)(e, own, e.dim(type.shape[axis] as Dim.Dim)) : own
  return {
    place: indices.map((i, a) => (a === axis ? Value.uniform(position) : i)),
    inside: wrap ? [] : [axis]
  }
}

const scattered = (
  e: Emitter,
  body: Body.Body,
  { operands }: NodeOf<"scatter">,
  [n, ...rest]: Indices
): Place => {
  const found = operands.slice(2).map((p) => Value.uniform(Value.first(e, body.at(p, [n as Value.Value]))))
  return { place: [...found, ...rest], inside: found.map((_, axis) => axis) }
}
