import * as Dim from "../../../ir/Dim.ts"
import type { Graph } from "../../../ir/Graph.ts"
import { matchAxes } from "../../../ir/matchAxes.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import { operand, type Ref } from "../Job.ts"

/** A node whose elements lie in a buffer at regular distances. */
export interface Strided {
  readonly input: Node
  readonly ref: Ref
  /** First element and distance between neighbours along each axis, in elements. */
  readonly base: Dim.Dim
  readonly strides: Shape.Shape
}

/**
 * How a node lies in the buffer of an input, where only views (transpose, broadcast, slice, reshapes that split, merge or drop
 * axes evenly) are between them; undefined where values are computed or do not lie at regular distances.
 */
export const strided = (graph: Graph, node: Node): Strided | undefined => {
  const { shape } = node.type
  const x = node.operands[0]
  if (node.op === "input") {
    const position = graph.inputs.indexOf(node)
    return { input: node, ref: operand(position), base: Dim.zero, strides: Shape.dimStrides(shape) }
  }
  if (x === undefined) return undefined
  const from = (): Strided | undefined => strided(graph, x)
  switch (node.op) {
    case "transpose": {
      const view = from()
      return view && { ...view, strides: node.attrs.perm.map((a) => view.strides[a] as Dim.Dim) }
    }
    case "broadcast": {
      const view = from()
      const skipped = shape.length - x.type.shape.length
      return (
        view && {
          ...view,
          strides: shape.map((_, axis) => {
            const own = x.type.shape[axis - skipped]
            return own === undefined || Dim.isOne(own) ? Dim.zero : (view.strides[axis - skipped] as Dim.Dim)
          })
        }
      )
    }
    case "slice": {
      const view = from()
      const { starts, steps } = node.attrs
      return (
        view && {
          ...view,
          base: view.strides.reduce(
            (sum, s, axis) => Dim.add(sum, Dim.mul(s, starts[axis] as Dim.Dim)),
            view.base
          ),
          strides: view.strides.map((s, axis) => Dim.mul(s, Dim.constant(steps[axis] as number)))
        }
      )
    }
    case "reshape": {
      const view = from()
      const strides = view && reshapeStrides(x.type.shape, view.strides, shape)
      return view && strides && { ...view, strides }
    }
    default:
      return undefined
  }
}

/** Strides after a reshape: each run of axes must lie without gaps. */
const reshapeStrides = (
  from: Shape.Shape,
  strides: Shape.Shape,
  to: Shape.Shape
): Shape.Shape | undefined => {
  const result: Array<Dim.Dim> = []
  for (const group of matchAxes(from, to)) {
    const axes = range(group.from).filter((axis) => !Dim.isOne(from[axis] as Dim.Dim))
    const last = axes.at(-1)
    const step = last === undefined ? Dim.zero : (strides[last] as Dim.Dim)
    let expected = step
    for (const axis of axes.toReversed()) {
      if (!Dim.equals(strides[axis] as Dim.Dim, expected)) return undefined
      expected = Dim.mul(expected, from[axis] as Dim.Dim)
    }
    const inner = Shape.dimStrides(to.slice(...group.to))
    result.push(...inner.map((s) => Dim.mul(s, step)))
  }
  return result
}

const range = ([start, end]: readonly [number, number]): ReadonlyArray<number> =>
  Array.from({ length: end - start }, (_, i) => start + i)
