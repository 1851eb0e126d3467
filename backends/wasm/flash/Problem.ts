import * as Dim from "../../../ir/Dim.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import { parts } from "../../../ir/ops/flashAttention.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import type { Side } from "../kernels/pack.ts"

/** A fused body around `flash_attention`, with what its kernels need to know. Sizes are the op's: q [B, Hq, T, D], v [B, Hkv, S, E]. */
export interface Problem {
  readonly job: Job
  readonly node: NodeOf<"flash_attention">
  readonly B: Dim.Dim
  readonly Hq: Dim.Dim
  readonly T: Dim.Dim
  readonly S: Dim.Dim
  readonly E: Dim.Dim
  /** Query heads of a key/value head. */
  readonly group: Dim.Dim
  /** The operands of each logit. */
  readonly terms: ReadonlyArray<Term>
  readonly v: Side
  readonly captures: ReadonlyArray<Node>
  /** Score of masked keys where they take part; undefined where they do not. */
  readonly fill: number | undefined
  /** Whether weights are the exponentials of scores; the scores themselves otherwise. */
  readonly normalised: boolean
  readonly output: "result" | "lse" | "max"
}

interface Term {
  readonly q: Side
  /** Its batch and heads may be one for all. */
  readonly k: Side
  readonly D: Dim.Dim
}

type Sizes = readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]

/** [batch, head, free, depth]. */
const rowsOf = (node: Node): Side => {
  const [b, h, free, depth] = node.type.shape as Sizes
  return {
    batch: [b, h],
    free: [free],
    depth: [depth],
    at: (body, batch, row, k) => body.at(node, [...batch, ...row, ...k])
  }
}

/** [batch, head, depth, free]. */
const columnsOf = (node: Node): Side => {
  const [b, h, depth, free] = node.type.shape as Sizes
  return {
    batch: [b, h],
    free: [free],
    depth: [depth],
    at: (body, batch, column, k) => body.at(node, [...batch, ...k, ...column])
  }
}

export const of = (job: Job): Problem => {
  const { anchor } = job
  if (anchor?.op !== "flash_attention") throw new Error("the job has no flash_attention")
  const { attrs } = anchor
  const { terms, v, captures } = parts(anchor.operands, attrs)
  const [B, Hq, T] = (terms[0] as { readonly q: Node }).q.type.shape as Sizes
  const [, Hkv, S, E] = v.type.shape as Sizes
  const fill = Math.fround(attrs.fill)
  return {
    job,
    node: anchor,
    B,
    Hq,
    T,
    S,
    E,
    group: Dim.divideExact(Hq, Hkv) as Dim.Dim,
    terms: terms.map(({ q, k }) => ({ q: rowsOf(q), k: rowsOf(k), D: Shape.size(rowsOf(q).depth) })),
    v: columnsOf(v),
    captures,
    fill: attrs.mask === undefined || fill === -Infinity ? undefined : fill,
    normalised: attrs.normaliser === undefined,
    output: attrs.output as Problem["output"]
  }
}
