import * as Dim from "../../ir/Dim.ts"
import * as Node from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import type { Arranged } from "./Basis.ts"
import type { Digit } from "./IndexExpr.ts"
import { size } from "./roles.ts"

/** Views that carry a tensor from one arrangement of digits to another. Those that would change nothing are left out. */

export const reshape = (x: Node.Node, shape: Shape.Shape): Node.Node =>
  Shape.equals(x.type.shape, shape) ? x : (Node.make("reshape", [x], { shape }) as Node.Node)

const transpose = (x: Node.Node, perm: ReadonlyArray<number>): Node.Node =>
  perm.every((axis, i) => axis === i) ? x : (Node.make("transpose", [x], { perm }) as Node.Node)

const broadcast = (x: Node.Node, shape: Shape.Shape): Node.Node =>
  Shape.equals(x.type.shape, shape) ? x : (Node.make("broadcast", [x], { shape }) as Node.Node)

/** One piece of each axis, or every step-th element of it. */
export const slice = (
  x: Node.Node,
  starts: Shape.Shape,
  stops: Shape.Shape,
  steps: ReadonlyArray<number>
): Node.Node =>
  Shape.equals(x.type.shape, stops) &&
  starts.every((d) => Dim.equals(d, Dim.zero)) &&
  steps.every((s) => s === 1)
    ? x
    : (Node.make("slice", [x], { starts, stops, steps }) as Node.Node)

export const cast = (x: Node.Node, dtype: Node.Node["type"]["dtype"]): Node.Node =>
  x.type.dtype === dtype ? x : (Node.make("cast", [x], { dtype }) as Node.Node)

/** The tensor with one axis for each group of digits; digits that it does not depend on are broadcast. */
export const regroup = (x: Arranged, groups: ReadonlyArray<ReadonlyArray<Digit>>): Node.Node => {
  const own = x.axes.flat()
  const wanted = groups.flat()
  const present = wanted.filter((d) => own.some((o) => o.name === d.name))
  const perm = present.map((d) => own.findIndex((o) => o.name === d.name))
  const inOrder = perm.every((p, i) => p === i)
  // Axes of size 1 have no digits; a tensor whose digits are in order needs one reshape at most.
  const moved = inOrder
    ? x.node
    : transpose(
        reshape(
          x.node,
          own.map((d) => d.size)
        ),
        perm
      )
  const full =
    present.length === wanted.length
      ? moved
      : broadcast(
          reshape(
            moved,
            wanted.map((d) => (present.includes(d) ? d.size : Dim.one))
          ),
          wanted.map((d) => d.size)
        )
  return reshape(full, groups.map(size))
}
