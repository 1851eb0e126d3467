import * as Dim from "../../../ir/Dim.ts"
import type { DType } from "../../../ir/DType.ts"
import type { Graph } from "../../../ir/Graph.ts"
import type { Node } from "../../../ir/Node.ts"
import type * as Shape from "../../../ir/Shape.ts"
import { operand, type Ref } from "../Job.ts"
import type { Body } from "./body.ts"
import type { Emitter } from "./Emitter.ts"
import { moved } from "./moved.ts"
import { loadVec4 } from "./storage.ts"

/**
 * Rows that are read where they lie, four elements at a time: the last axis of a node is a run of the last axis of an input, which is found
 * by views and by gathers, once for each row. So attention reads keys through a table of pages.
 */

const four = Dim.constant(4)

/** Sizes with the last axis counted in fours. */
const inFours = ({ type: { shape } }: Node): Shape.Shape => [
  ...shape.slice(0, -1),
  Dim.divideExact(shape.at(-1) as Dim.Dim, four) as Dim.Dim
]

/** Whether `at` can read the node. */
export const lie = (node: Node): boolean => {
  const { shape } = node.type
  const last = shape.at(-1)
  if (last === undefined || (Dim.value(last) ?? 1) % 4 !== 0) return false
  const x = node.operands[0]
  if (x === undefined) return node.op === "input"
  if (!lie(x)) return false
  const own = x.type.shape.length - 1
  const size = x.type.shape[own] as Dim.Dim
  switch (node.op) {
    case "reshape":
      return true
    case "transpose":
      return node.attrs.perm.at(-1) === own
    case "broadcast":
      return Dim.equals(last, size)
    case "slice":
      return node.attrs.steps[own] === 1 && Dim.equals(last, size)
    case "gather":
      return node.attrs.axis < own
    case "cast":
      return node.type.dtype === "f32" && (x.type.dtype === "f16" || x.type.dtype === "bf16")
    default:
      return false
  }
}

/** How four elements of a buffer are read; `zero` is what a read of nothing gives. */
export interface Load {
  readonly vec4: (e: Emitter, ref: Ref, dtype: DType, index: string) => string
  readonly zero: string
}

/** As `vec4<f32>`. */
export const floats: Load = { vec4: loadVec4, zero: "vec4<f32>()" }

/** Elements 4 * chunk to 4 * chunk + 3 of a row of a node that lies so, bound. */
export const at = (
  e: Emitter,
  body: Body,
  graph: Graph,
  node: Node,
  row: ReadonlyArray<string>,
  chunk: string,
  load: Load = floats
): string => {
  const indices = [...row, chunk]
  const x = node.operands[0]
  if (x === undefined) {
    const position = (graph.inputs as ReadonlyArray<Node>).indexOf(node)
    return load.vec4(e, operand(position), node.type.dtype, e.linearize(indices, inFours(node)))
  }
  const read = (from: ReadonlyArray<string>): string =>
    at(e, body, graph, x, from.slice(0, -1), from.at(-1) as string, load)
  if (node.op === "cast") return read(indices)
  if (node.op !== "gather") return read(moved(e, node, indices, inFours) as ReadonlyArray<string>)
  const size = x.type.shape[node.attrs.axis] as Dim.Dim
  const value = read(body.found(node, indices))
  // A read along an axis of length 0 gives 0.
  return (Dim.value(size) ?? 0) > 0 ? value : e.bind(`select(${load.zero}, ${value}, ${e.dim(size)} > 0)`)
}
