import * as Dim from "../ir/Dim.ts"
import * as Graph from "../ir/Graph.ts"
import type * as Node from "../ir/Node.ts"
import { parts } from "../ir/ops/flashAttention.ts"
import type * as Shape from "../ir/Shape.ts"
import { type Add, inline } from "./inline.ts"
import { type Pass, quiet } from "./Pass.ts"

type Flash = Node.NodeOf<"flash_attention">

/** [B or 1, Hkv, S, D] as [B, Hq, S, D], each head as often as query heads share it. */
const expand = (add: Add, x: Node.Node, batch: Dim.Dim, heads: Dim.Dim): Node.Node => {
  const [b, h, s, d] = x.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
  const group = Dim.divideExact(heads, h) as Dim.Dim
  if (Dim.isOne(group) && Dim.equals(b, batch)) return x
  const wide = add("broadcast", [add("reshape", [x], { shape: [b, h, Dim.one, s, d] })], {
    shape: [batch, h, group, s, d]
  })
  return add("reshape", [wide], { shape: [batch, heads, s, d] })
}

/** The sum of each row of exponentials less its maximum, 0 for what is -inf. */
const sumOfRows = (add: Add, x: Node.Node): Node.Node => {
  const [B, Hq, T] = x.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, ...Shape.Shape]
  const max = add("reshape", [add("reduce_max", [x], { axes: [3] })], { shape: [B, Hq, T, Dim.one] })
  const zero = add("constant", [], { values: [0], type: { dtype: x.type.dtype, shape: [] } })
  const weights = add("exp", [add("sub", [x, max], {})], {})
  return add("reduce_sum", [add("select", [add("is_inf", [x], {}), zero, weights], {})], { axes: [3] })
}

/** The node by its definition: every step in the accumulator's type, the score matrix as a tensor. */
const definition = (node: Flash, add: Add): Node.Node => {
  const { attrs } = node
  const { v, terms, captures } = parts(node.operands, attrs)
  const [{ q, k }] = terms as readonly [(typeof terms)[number]]
  const [B, Hq, T] = q.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
  const S = k.type.shape[2] as Dim.Dim
  const real = q.type.dtype === "f64" ? "f64" : "f32"
  const cast = (x: Node.Node, dtype: typeof real | typeof attrs.dtype): Node.Node =>
    x.type.dtype === dtype ? x : add("cast", [x], { dtype })
  const to = (x: Node.Node, shape: Shape.Shape): Node.Node => add("broadcast", [x], { shape })
  const index = (size: Dim.Dim, axis: number): Node.Node =>
    add("reshape", [add("iota", [], { type: { dtype: "i32", shape: [size] } })], {
      shape: [0, 1, 2, 3].map((a) => (a === axis ? size : Dim.one))
    })
  const [b, h, i, j] = [index(B, 0), index(Hq, 1), index(T, 2), index(S, 3)]
  const rows: Shape.Shape = [B, Hq, T, Dim.one]
  const all: Shape.Shape = [B, Hq, T, S]

  const logits = terms.map((term) =>
    add("dot", [cast(term.q, real), cast(expand(add, term.k, B, Hq), real)], {
      lhsBatch: [0, 1],
      rhsBatch: [0, 1],
      lhsContract: [3],
      rhsContract: [3]
    })
  )
  const scored = to(inline(add, attrs.score, [...logits, b, h, i, j, ...captures]), all)
  const fill = add("constant", [], { values: [attrs.fill], type: { dtype: real, shape: [] } })
  const scores =
    attrs.mask === undefined
      ? scored
      : add("select", [inline(add, attrs.mask, [b, h, i, j, ...captures]), scored, fill], {})
  const columns =
    attrs.sink === undefined
      ? scores
      : add("concat", [scores, to(inline(add, attrs.sink, [b, h, i, ...captures]), rows)], { axis: 3 })
  if (attrs.output === "lse") return add("logsumexp", [columns], { axis: 3 })
  if (attrs.output === "max") return add("reduce_max", [columns], { axes: [3] })
  if (attrs.output === "sum") return sumOfRows(add, columns)
  const normalised = attrs.normaliser === "none" ? columns : add("softmax", [columns], { axis: 3 })
  const weights =
    attrs.sink === undefined
      ? normalised
      : add("slice", [normalised], { starts: all.map(() => Dim.zero), stops: all, steps: [1, 1, 1, 1] })
  const factored =
    attrs.probability === undefined
      ? weights
      : add("mul", [weights, inline(add, attrs.probability, [b, h, i, j, ...captures])], {})
  const result = add("dot", [factored, cast(expand(add, v, B, Hq), real)], {
    lhsBatch: [0, 1],
    rhsBatch: [0, 1],
    lhsContract: [3],
    rhsContract: [2]
  })
  return cast(result, attrs.dtype)
}

/** The inverse of fuse-attention, by the node's definition. */
export const unfuseAttention: Pass = {
  name: "unfuse-attention",
  summary:
    "flash_attention as the contractions and the softmax it stands for, to check it and to compare with it",
  from: "attention",
  to: "traced",
  run: (graph, { count }) =>
    quiet(
      Graph.transform(graph, (node, builder) => {
        if (node.op !== "flash_attention") return node
        count("definition")
        const add: Add = (op, operands, attrs) =>
          builder.add(op, operands, attrs, { at: node.at, label: node.label }) as unknown as Node.Node
        return definition(node, add)
      })
    )
}
