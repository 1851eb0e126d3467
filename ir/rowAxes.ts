import * as Dim from "./Dim.ts"
import type { Graph } from "./Graph.ts"
import { updateOf } from "./KernelBody.ts"
import { matchAxes } from "./matchAxes.ts"
import { type Node, type NodeOf, specOf } from "./Node.ts"
import * as Shape from "./Shape.ts"

/**
 * Where the rows of a normalisation are in what follows it: for each axis of a value the axis of the normalised tensor that its entries are the
 * entries of; undefined where it has elements of one row. What computes elements of a row from that row alone, as RoPE does, is known to.
 */
export type RowAxes = ReadonlyArray<number | undefined>

type Normalisation = NodeOf<"softmax"> | NodeOf<"layer_norm"> | NodeOf<"rms_norm">

export const isNormalisation = (node: Node | undefined): node is Extract<Node, Normalisation> =>
  node?.op === "softmax" || node?.op === "layer_norm" || node?.op === "rms_norm"

/** Those of the normalisation itself. */
export const ofAnchor = ({ type, attrs }: Normalisation): RowAxes =>
  type.shape.map((d, axis) => (axis === attrs.axis || Dim.isOne(d) ? undefined : axis))

/** Those of a value from those of its operands, which are undefined where they do not depend on the rows; undefined where several rows meet. */
export const after = (node: Node, axesOf: (operand: Node) => RowAxes | undefined): RowAxes | undefined => {
  const { shape } = node.type
  const [x] = node.operands as readonly [Node]
  const own = axesOf(x)
  switch (node.op) {
    case "transpose":
      return own && node.attrs.perm.map((axis) => own[axis])
    case "slice": {
      const isCut = (axis: number): boolean =>
        !Dim.equals(shape[axis] as Dim.Dim, x.type.shape[axis] as Dim.Dim)
      return own?.some((row, axis) => row !== undefined && isCut(axis)) ? undefined : own
    }
    case "reshape":
      return own && reshaped(own, x.type.shape, shape)
    case "concat":
      return agreed(node, axesOf, (operand) => axesOf(operand)?.[node.attrs.axis] === undefined)
    case "broadcast":
      return agreed(node, axesOf)
    default: {
      const { family } = specOf(node.op)
      return family === "elementwise" || family === "compare" ? agreed(node, axesOf) : undefined
    }
  }
}

/** What all operands of rows say, seen from the result, where rows are as many as theirs. */
const agreed = (
  { operands, type: { shape } }: Node,
  axesOf: (operand: Node) => RowAxes | undefined,
  fits: (operand: Node) => boolean = () => true
): RowAxes | undefined => {
  let found: RowAxes | undefined
  for (const operand of operands) {
    const axes = axesOf(operand)
    if (axes === undefined) continue
    const added = shape.length - axes.length
    const own = shape.map((_, axis) => axes[axis - added])
    const isRepeated = own.some(
      (row, axis) =>
        row !== undefined && !Dim.equals(operand.type.shape[axis - added] as Dim.Dim, shape[axis] as Dim.Dim)
    )
    if (isRepeated || !fits(operand) || (found?.some((row, axis) => row !== own[axis]) ?? false))
      return undefined
    found = own
  }
  return found
}

const reshaped = (axes: RowAxes, from: Shape.Shape, to: Shape.Shape): RowAxes | undefined => {
  const result: Array<number | undefined> = []
  for (const run of matchAxes(from, to)) {
    const rows = axes.slice(...run.from).filter((row) => row !== undefined)
    const sizes = to.slice(...run.to)
    const long = from.slice(...run.from).filter((d) => !Dim.isOne(d)).length
    const isOne = long === 1 && sizes.filter((d) => !Dim.isOne(d)).length === 1
    if (rows.length > 0 && !isOne) return undefined
    result.push(...sizes.map((d) => (Dim.isOne(d) ? undefined : rows[0])))
  }
  return result
}

/** Whether a value holds each row once, as no more elements than there were. */
export const holdsRows = (anchor: Normalisation, { type: { shape } }: Node, axes: RowAxes): boolean => {
  const length = Dim.value(anchor.type.shape[anchor.attrs.axis] as Dim.Dim)
  const size = Dim.value(Shape.size(shape.filter((_, axis) => axes[axis] === undefined)))
  return length !== undefined && size !== undefined && size <= length
}

/** Those of what a body gives, or writes into a tensor; undefined where its kernel cannot compute it row by row. */
export const ofBody = (body: Graph): { readonly end: Node; readonly axes: RowAxes } | undefined => {
  const anchor = body.nodes.find(isNormalisation)
  const update = updateOf(body)
  const end = update?.operands[1] ?? body.outputs[0]?.node
  if (anchor === undefined || end === undefined) return undefined
  const known = new Map<Node, RowAxes>([[anchor, ofAnchor(anchor)]])
  for (const node of body.nodes) {
    if (node === update || known.has(node) || !node.operands.some((o) => known.has(o))) continue
    const axes = after(node, (o) => known.get(o))
    if (axes === undefined) return undefined
    known.set(node, axes)
  }
  const axes = known.get(end)
  return axes !== undefined && holdsRows(anchor, end, axes) ? { end, axes } : undefined
}
