import type * as Dim from "../../../ir/Dim.ts"
import type { Update } from "../../../ir/KernelBody.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import type { Body } from "./body.ts"
import type { Emitter } from "./Emitter.ts"
import { allOf } from "./scalar.ts"

/** Where an element of what is written into a tensor goes. */
export interface Updated {
  /** Its row-major number in the tensor. */
  readonly position: () => string
  /** Whether that is in the tensor; undefined where it always is. */
  readonly inside: string | undefined
}

export const updated = (
  emitter: Emitter,
  body: Body,
  root: Update,
  indices: ReadonlyArray<string>
): Updated => {
  const { place, inside } =
    root.op === "scatter" ? scattered(body, root, indices) : sliced(emitter, body, root, indices)
  const conditions = inside.flatMap((axis) => [
    `${place[axis]} >= 0`,
    `${place[axis]} < ${emitter.dim(root.type.shape[axis] as Dim.Dim)}`
  ])
  return {
    position: () => emitter.linearize(place, root.type.shape),
    inside: conditions.length === 0 ? undefined : allOf(...conditions)
  }
}

/** Where an element of the update goes, and the axes along which that may be outside. */
interface Place {
  readonly place: ReadonlyArray<string>
  readonly inside: ReadonlyArray<number>
}

const sliced = (
  e: Emitter,
  body: Body,
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
  body: Body,
  { operands }: NodeOf<"scatter">,
  [n, ...rest]: ReadonlyArray<string>
): Place => {
  const found = operands.slice(2).map((p) => body.at(p, [n as string]))
  return { place: [...found, ...rest], inside: found.map((_, axis) => axis) }
}
