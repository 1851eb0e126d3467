import * as Dim from "../../../ir/Dim.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import { parts } from "../../../ir/ops/flashAttention.ts"
import { UnsupportedByDevice } from "../../errors.ts"
import { op, splatF32 } from "../assembler/Instruction.ts"
import * as Value from "../emit/Value.ts"
import type { Job } from "../Job.ts"
import type { Side } from "../kernels/pack.ts"
import { scaledBy } from "./scaledBy.ts"

/** A fused body around `flash_attention`, with what its kernels need to know. Sizes are the op's: q [B, Hq, T, D], v [B, Hkv, S, E]. */
export interface Problem {
  readonly job: Job
  readonly node: NodeOf<"flash_attention">
  readonly B: Dim.Dim
  readonly Hkv: Dim.Dim
  readonly T: Dim.Dim
  readonly S: Dim.Dim
  readonly E: Dim.Dim
  /** Query heads of a key/value head. */
  readonly group: Dim.Dim
  /** The operands of each logit. */
  readonly terms: ReadonlyArray<Term>
  /** Whether queries hold all that a score multiplies its logits with, so that the sum of logits is the score, in powers of 2. */
  readonly isScaled: boolean
  readonly v: Side
  readonly captures: ReadonlyArray<Node>
  /** Score of masked keys where they take part; undefined where they do not. */
  readonly fill: number | undefined
  /** Whether weights are the exponentials of scores; the scores themselves otherwise. */
  readonly normalised: boolean
  readonly asked: ReadonlyArray<Asked>
}

/** A result of the attention, and the body that goes on with it. */
interface Asked {
  readonly output: Output
  readonly job: Job
}

export const hasValues = ({ asked }: Problem): boolean => asked.some(({ output }) => output === "result")

const outputs = ["result", "lse", "max", "sum"] as const

type Output = (typeof outputs)[number]

/** What this backend knows how to compute; anything else is refused by name. */
const outputOf = (name: string): Output => {
  const known = outputs.find((o) => o === name)
  if (known !== undefined) return known
  throw new UnsupportedByDevice({
    message: `flash_attention: the WebAssembly backend does not compute the output ${JSON.stringify(name)}`,
    hint: "run on the reference, or run unfuse-attention"
  })
}

export interface Term {
  /** Rows that share their keys: row = query * group + head in group. */
  readonly q: Side
  /** Its batch and heads may be one for all. */
  readonly k: Side
  readonly D: Dim.Dim
}

type Sizes = readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]

/** Queries [B, Hq, T, D] by the key/value head that they look at. */
const queriesOf = (group: Dim.Dim, node: Node, factor: number): Side => {
  const [b, h, t, d] = node.type.shape as Sizes
  return {
    batch: [b, Dim.divideExact(h, group) as Dim.Dim],
    free: [t, group],
    depth: [d],
    at: (body, e, [batch, keyHead], [query, inGroup], k) => {
      const first = Value.scale(e, keyHead as Value.Value, e.dim(group))
      const head = Value.add(e, first, inGroup as Value.Value)
      const value = body.at(node, [batch as Value.Value, head, query as Value.Value, ...k])
      return factor === 1
        ? value
        : Value.vector(e.bind(op("f32x4.mul", Value.toVector(e, value), splatF32(factor))))
    }
  }
}

/** [batch, head, free, depth]. */
const keysOf = (node: Node): Side => {
  const [b, h, free, depth] = node.type.shape as Sizes
  return {
    batch: [b, h],
    free: [free],
    depth: [depth],
    at: (body, _, batch, row, k) => body.at(node, [...batch, ...row, ...k])
  }
}

/** [batch, head, depth, free]. */
const valuesOf = (node: Node): Side => {
  const [b, h, depth, free] = node.type.shape as Sizes
  return {
    batch: [b, h],
    free: [free],
    depth: [depth],
    at: (body, _, batch, column, k) => body.at(node, [...batch, ...k, ...column])
  }
}

export const of = (job: Job): Problem => {
  const { anchor } = job
  if (anchor?.op !== "flash_attention") throw new Error("the job has no flash_attention")
  const { attrs } = anchor
  const { terms, v, captures } = parts(anchor.operands, attrs)
  const [B, Hq, T] = (terms[0] as { readonly q: Node }).q.type.shape as Sizes
  const [, Hkv, S, E] = v.type.shape as Sizes
  const group = Dim.divideExact(Hq, Hkv) as Dim.Dim
  const filled = Math.fround(attrs.fill)
  const normalised = attrs.normaliser === undefined
  const fill = attrs.mask === undefined || !normalised || filled === -Infinity ? undefined : filled
  const asked = [job, ...job.siblings].map((own) => ({
    job: own,
    output: outputOf((own.anchor as NodeOf<"flash_attention">).attrs.output)
  }))
  const isPlain =
    terms.every(({ q }) => q.type.dtype !== "f64") &&
    normalised &&
    attrs.sink === undefined &&
    fill === undefined &&
    asked.every(({ output }) => output === "result")
  const scaled = isPlain ? scaledBy(attrs.score, terms.length) : undefined
  return {
    job,
    node: anchor,
    B,
    Hkv,
    T,
    S,
    E,
    group,
    terms: terms.map(({ q, k }, n) => ({
      q: queriesOf(group, q, scaled?.[n] ?? 1),
      k: keysOf(k),
      D: q.type.shape[3] as Dim.Dim
    })),
    isScaled: scaled !== undefined,
    v: valuesOf(v),
    captures,
    fill,
    normalised,
    asked
  }
}
