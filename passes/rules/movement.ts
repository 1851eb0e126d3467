import * as Dim from "../../ir/Dim.ts"
import type * as Node from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import { named, ops } from "../Pattern.ts"
import * as Rule from "../Rule.ts"

const { broadcast, concat, reshape, slice, transpose } = ops

const k = `%0: f32[B, 8, S, 64] = input {name = "k"}`

/** Axes of a transpose in their new order, those of size 1 left out: it only relabels where this ascends. */
const movesNothing = (node: Extract<Node.Node, Node.NodeOf<"transpose">>): boolean => {
  const { shape } = (node.operands[0] as Node.Node).type
  const wide = node.attrs.perm.filter((axis) => !Dim.isOne(shape[axis] as Dim.Dim))
  return wide.every((axis, i) => i === 0 || axis > (wide[i - 1] as number))
}

/** Chains of views, one view where one does. No rule changes a type, so that what is left out changed nothing. */
export const movement: ReadonlyArray<Rule.Rule> = [
  // (xᵀᵖ)ᵀᵠ = xᵀᵖᵠ
  Rule.make("transpose-transpose", {
    law: "transpose(transpose(x, p), q) = transpose(x, p ∘ q)",
    kind: "exact",
    match: ({ x }) => named("outer", transpose(named("inner", transpose(x)))),
    rewrite: Rule.by((m) => {
      const [inner, outer] = [m.as("inner", "transpose"), m.as("outer", "transpose")]
      return m.build("transpose", [m.get("x")], {
        perm: outer.attrs.perm.map((i) => inner.attrs.perm[i] as number)
      })
    }),
    example: `${k}\n%1: f32[B, S, 8, 64] = transpose %0 {perm = [0, 2, 1, 3]}\n%2: f32[B, 8, 64, S] = transpose %1 {perm = [0, 2, 3, 1]}`
  }),
  // transpose(x, identity) = x
  Rule.make("transpose-identity", {
    law: "transpose(x, id) = x",
    kind: "exact",
    match: ({ x }) => named("outer", transpose(x)),
    when: (m) => m.as("outer", "transpose").attrs.perm.every((axis, i) => axis === i),
    rewrite: ({ x }) => x,
    example: `${k}\n%1: f32[B, 8, S, 64] = transpose %0 {perm = [0, 1, 2, 3]}`
  }),
  // moving axes of size 1 is a reshape
  Rule.make("transpose-of-ones", {
    law: "transpose(x, p) = reshape(x), where p moves axes of size 1 only",
    kind: "exact",
    match: ({ x }) => named("outer", transpose(x)),
    when: (m) => {
      const outer = m.as("outer", "transpose")
      return movesNothing(outer) && !outer.attrs.perm.every((axis, i) => axis === i)
    },
    rewrite: Rule.by((m) => m.build("reshape", [m.get("x")], { shape: m.get("root").type.shape })),
    example: `%0: f32[B, 1, S, 64] = input {name = "k"}\n%1: f32[1, B, S, 64] = transpose %0 {perm = [1, 0, 2, 3]}`
  }),
  // reshape(reshape(x)) = reshape(x)
  Rule.make("reshape-reshape", {
    law: "reshape(reshape(x, s), t) = reshape(x, t)",
    kind: "exact",
    match: ({ x }) => reshape(named("inner", reshape(x))),
    // Where the outer one equals x only by assumption, the inner one says what is assumed.
    when: (m) => Dim.equals(Shape.size(m.get("x").type.shape), Shape.size(m.get("root").type.shape)),
    rewrite: Rule.by((m) => m.build("reshape", [m.get("x")], { shape: m.get("root").type.shape })),
    example: `${k}\n%1: f32[B, 8, 1, S, 64] = reshape %0\n%2: f32[8*B, S, 64] = reshape %1`
  }),
  // reshape(x, shape of x) = x
  Rule.make("reshape-identity", {
    law: "reshape(x, shape of x) = x",
    kind: "exact",
    match: ({ x }) => reshape(x),
    rewrite: ({ x }) => x,
    example: `${k}\n%1: f32[B, 8, S, 64] = reshape %0`
  }),
  // broadcast(x, shape of x) = x
  Rule.make("broadcast-identity", {
    law: "broadcast(x, shape of x) = x",
    kind: "exact",
    match: ({ x }) => broadcast(x),
    rewrite: ({ x }) => x,
    example: `${k}\n%1: f32[B, 8, S, 64] = broadcast %0`
  }),
  // broadcast(broadcast(x)) = broadcast(x)
  Rule.make("broadcast-broadcast", {
    law: "broadcast(broadcast(x, s), t) = broadcast(x, t)",
    kind: "exact",
    match: ({ x }) => broadcast(broadcast(x)),
    rewrite: Rule.by((m) => m.build("broadcast", [m.get("x")], { shape: m.get("root").type.shape })),
    example: `%0: f32[64] = input {name = "x"}\n%1: f32[1, 64] = broadcast %0\n%2: f32[T, 64] = broadcast %1`
  }),
  // slice(x, 0, size) = x
  Rule.make("slice-identity", {
    law: "slice(x, 0, size) = x",
    kind: "exact",
    match: ({ x }) => slice(x),
    rewrite: ({ x }) => x,
    example: `%0: f32[T, 4] = input {name = "x"}\n%1: f32[T, 4] = slice %0 {starts = [0, 0], stops = [T, 4], steps = [1, 1]}`
  }),
  // slice(slice(x)) = slice(x)
  Rule.make("slice-slice", {
    law: "slice(slice(x, a, b), c, d) = slice(x, a + c, a + d) in steps of 1",
    kind: "exact",
    match: ({ x }) => named("outer", slice(named("inner", slice(x)))),
    when: (m) =>
      [...m.as("outer", "slice").attrs.steps, ...m.as("inner", "slice").attrs.steps].every((s) => s === 1),
    rewrite: Rule.by((m) => {
      const [inner, outer] = [m.as("inner", "slice").attrs, m.as("outer", "slice").attrs]
      const shifted = (list: Shape.Shape) => list.map((d, i) => Dim.add(d, inner.starts[i] as Dim.Dim))
      return m.build("slice", [m.get("x")], {
        starts: shifted(outer.starts),
        stops: shifted(outer.stops),
        steps: outer.steps
      })
    }),
    example: `%0: f32[9, 4] = input {name = "x"}\n%1: f32[6, 4] = slice %0 {starts = [1, 0], stops = [7, 4], steps = [1, 1]}\n%2: f32[3, 4] = slice %1 {starts = [2, 0], stops = [5, 4], steps = [1, 1]}`
  }),
  // concat(x) = x
  Rule.make("concat-one", {
    law: "concat(x) = x",
    kind: "exact",
    match: ({ x }) => concat(x),
    rewrite: ({ x }) => x,
    example: `%0: f32[T, 4] = input {name = "x"}\n%1: f32[T, 4] = concat %0 {axis = 0}`
  })
]
